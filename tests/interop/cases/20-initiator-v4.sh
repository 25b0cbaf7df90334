#!/bin/bash
# The project's initiator over IPv4: IPv6 and IPv4 inside, prefix, download, orderly ends
. "$(dirname "$0")/../lib.sh"
WEB_BYTES=20000000; layout; customer
gateway
bob || finish
check "bob has the addresses of the subscriber file" bash -c "ip -n $CUST addr show dev bob | grep -q 10.100.1.2 && ip -n $CUST addr show dev bob | grep -q 2001:db8:100:b0b:"
check "ping over IPv6" in_ns "$CUST" ping -c5 -i0.2 -W2 "$WEB6"
check "ping over IPv4" in_ns "$CUST" ping -c5 -i0.2 -W2 "$WEB4"
fetch() { [ "$(in_ns "$CUST" curl -sS -m 60 "http://$1/file" | md5sum | cut -d' ' -f1)" = "$WEB_SUM" ]; }
check "download over IPv6, every octet right" fetch "[$WEB6]"
check "download over IPv4, every octet right" fetch "$WEB4"
check "REST shows the softwire" api check 'user("bob")["state"] == "open" and user("bob")["ike_id"] == "bob@example.net"'
check "metrics are there" api check '"softwire" in metrics'
check "the SPD is shown" api check 'any(r["action"] == "PROTECT" for r in spd) and any(r["action"] == "BYPASS" for r in spd) and spd[-1]["action"] == "DISCARD"'
check "initiator ends when asked" halted bob
check "gateway has nothing left" api wait 'not subs and not ike and not child'
gateway_stop
finish
