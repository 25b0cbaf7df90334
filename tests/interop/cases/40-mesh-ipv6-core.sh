#!/bin/bash
# IPv4 islands over an IPv6-only core: two gateways as AFBRs, in the clear, then by ESP in both modes
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_case
