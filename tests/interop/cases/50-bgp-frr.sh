#!/bin/bash
# IPv4 islands over an IPv6-only core, learned by iBGP from FRR as route reflector: IPv6 next hops (RFC 8950)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
reflected_case
