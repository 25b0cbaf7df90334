#!/bin/bash
# DHCPv6 from a server elsewhere (Kea): what it delegates to a subscriber is routed, shown, accounted for, and gone with the session
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa; customer
KEA=$STATE/kea; mkdir -p "$KEA"
cat >"$KEA/kea.json" <<K
{ "Dhcp6": {
  "interfaces-config": { "interfaces": [ "m0/$R6" ] },
  "lease-database": { "type": "memfile", "persist": false },
  "server-id": { "type": "EN", "enterprise-id": 32473, "identifier": "6b6561", "persist": false },
  "subnet6": [ { "subnet": "2001:db8:100::/48", "pd-pools": [ { "prefix": "2001:db8:e000::", "prefix-len": 36, "delegated-len": 56 } ] } ],
  "loggers": [ { "name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 99, "output_options": [ { "output": "stdout" } ] } ]
} }
K
# a copy: Debian's AppArmor profile of the program knows nothing of our folders
cp /usr/sbin/kea-dhcp6 "$KEA/"
spawn kea "$AAA" env KEA_LOCKFILE_DIR=none KEA_PIDFILE_DIR="$KEA" "$KEA/kea-dhcp6" -c "$KEA/kea.json"
must "Kea is up" waits 10 grep -q DHCP6_STARTED "$LOGS/kea.log"
ip -n "$CORE" route add 2001:db8:e000::/36 via 2001:db8:c::1
MORE="dhcp6: { relay: [\"$R6\"] }" gateway
bob || finish
must "a prefix of Kea's is delegated" api wait 'any(p.startswith("2001:db8:e0") for p in user("bob")["routes"])' 20
PREFIX=$(api value '[p for p in user("bob")["routes"] if p.startswith("2001:db8:e0")][0]')
INSIDE=${PREFIX%/56}1
ip -n "$CUST" addr add "$INSIDE/128" dev lo nodad
check "the network behind the subscriber is reached" in_ns "$CORE" ping -c3 -i0.2 -W2 "$INSIDE"
check "and reaches" in_ns "$CUST" ping -c3 -i0.2 -W2 -I "$INSIDE" "$WEB6"
check "the relay names session and user (Interface-Id, Subscriber-Id)" eval 'grep -q "type=00018, len=00004" "$LOGS/kea.log" && grep -q "type=00038, len=00003: 62:6f:62" "$LOGS/kea.log"'
check "the initiator ends when asked" halted bob
check "nothing is left" api wait 'not subs' 20
check "what was delegated is no longer reached" refused in_ns "$CORE" ping -c1 -W1 "$INSIDE"
gateway_stop
finish
