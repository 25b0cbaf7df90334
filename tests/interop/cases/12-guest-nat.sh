#!/bin/bash
# The Linux client behind a NAT, with another client behind the same one; then the NAT forgets its ports
. "$(dirname "$0")/../lib.sh"
layout; layout_nat
DEFGW=10.1.0.1 boot alice "$NAT" brc:10.1.0.2/24
gateway; ready alice
IKEVARS="" ike_up alice 10.1.0.2 $GW4 || finish
ppp_up alice || finish
traffic alice
gw_check "ESP is in UDP" api check 'any(s["natt"] for s in ike) and all(s["encap"] for s in child)'
if [ "$PEER" != linux ]; then
  netns "$CUST"; veth "$CUST" e0 "$NAT" cust0; port "$NAT" brc cust0; address "$CUST" e0 10.1.0.3/24; ip -n "$CUST" route add default via 10.1.0.1
  bob
  check "two clients behind one NAT, both pass traffic" in_ns "$CUST" ping -c5 -i0.1 -W2 "$WEB6"
  check "the first still does" g alice "ping -c3 -i0.2 -W3 $WEB6"
  before=$(api value 'user("alice")["outer"], [s["remote"] for s in ike if s["remote_id"] == "alice@example.net"]')
  # Masquerading forgets a link's connections when the link goes down. Silence alone would not do: a keepalive in it
  # would renew the mapping.
  say "the NAT's uplink fails and the NAT forgets its ports"; ip -n "$NAT" link set wan down; ip -n "$NAT" link set wan up
  check "traffic goes on from another port" g alice "ping -c5 -i0.5 -W3 $WEB6 | grep -E ' [1-5] received'"
  check "ping after the move loses nothing" g alice "ping -c10 -i0.1 -W3 $WEB6 | grep ' 0% packet loss'"
  check "the IKE SA moved" test "$before" != "$(api value 'user("alice")["outer"], [s["remote"] for s in ike if s["remote_id"] == "alice@example.net"]')"
fi
gateway_stop
finish
