#!/bin/bash
# IPv6 islands over an IPv4-only core, learned by iBGP from FRR as route reflector: IPv4-mapped next hops (RFC 4798)
CORE_FAMILY=4; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
reflected_case
