#!/bin/bash
# IPv6 islands over an IPv4-only core: two gateways as AFBRs, in the clear, then by ESP in both modes
CORE_FAMILY=4; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_case
