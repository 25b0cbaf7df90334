#!/bin/bash
# The project's initiator with a certificate against two workers that share the ports' queues
. "$(dirname "$0")/../lib.sh"
layout; customer; pki
[ "$(nproc)" -gt 1 ] || { echo "two workers on one core would take turns: not a test"; FAILED=1; finish; }
WORKERS="0, 1" DEVARGS=",qpairs=2" gateway
P=$STATE/share/pki
IKE_AUTH="chain: $P/carol.pem, key: $P/carol.key, ca: $P/ca.pem" initiator_up carol "$CUST" "$GW4" carol@cert.example.net - carol carolsecret || finish
customer2() { netns "$PFX-c2"; veth "$PFX-c2" e0 "$ACC" cust1; port "$ACC" br0 cust1; address "$PFX-c2" e0 192.0.2.21/24; }
customer2
bob "$PFX-c2" || finish
check "REST shows the certificate's identity" api check 'user("carol")["ike_id"] == "carol@cert.example.net"'
check "the two softwires are on different workers" api check 'len({s["session"] >> 8 & 15 for s in subs}) == 2'
for c in "$CUST" "$PFX-c2"; do
  check "ping over IPv6 from $c" in_ns "$c" ping -c20 -i0.05 -W2 "$WEB6"
  check "ping over IPv4 from $c" in_ns "$c" ping -c20 -i0.05 -W2 "$WEB4"
  check "download over IPv6, every octet right" eval '[ "$(in_ns "'$c'" curl -sS -m 60 "http://[$WEB6]/file" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'
done
check "packets went from worker to worker, and both worked" api check 'c["handed_out"] > 0 and c["drop.handoff_full"] == 0'
check "carol leaves" halted carol
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$STATE/other.key" -out "$STATE/other.pem" -days 2 -subj "/CN=Other CA" 2>/dev/null
IKE_AUTH="chain: $P/carol.pem, key: $P/carol.key, ca: $STATE/other.pem" initiator rogue "$CUST" "$GW4" carol@cert.example.net - carol carolsecret
check "a gateway whose certificate is of another CA is refused by the initiator" waits 15 refused alive rogue
check "and it says why" grep -qi "certificate" "$LOGS/rogue.log"
gateway_stop
finish
