#!/bin/bash
# The project's initiator over IPv6: IPv4 (and IPv6) inside; a gateway without huge pages
. "$(dirname "$0")/../lib.sh"
layout; customer 2001:db8:a::20/64
NO_HUGE=1 gateway
check "it has no huge pages" grep -q -- --no-huge "$STATE/gw.yaml"
bob "$CUST" "$GW6" || finish
check "ping over IPv4" in_ns "$CUST" ping -c5 -i0.2 -W2 "$WEB4"
check "ping over IPv6" in_ns "$CUST" ping -c5 -i0.2 -W2 "$WEB6"
check "outer is IPv6" api check 'user("bob")["outer"].startswith("[2001:db8:a::20]")'
check "download over IPv4, every octet right" eval '[ "$(in_ns "$CUST" curl -sS -m 60 "http://$WEB4/file" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'
check "initiator ends when asked" halted bob
check "gateway has nothing left" api wait 'not subs and not ike and not child'
gateway_stop
finish
