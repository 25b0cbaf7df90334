#!/bin/bash
# Linux client (strongSwan, xl2tpd, pppd): IKEv2 by PSK, plain ESP, CHAP; both families inside; orderly ends from each side
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:192.0.2.2/24
gateway; bystander; ready alice
must "gateway's host stack answers ping" g alice "ping -c3 -i0.2 -W2 $GW4"
ike_up alice 192.0.2.2 $GW4 || finish
ppp_up alice || finish
traffic alice
gw_check "DHCPv6 delegates a prefix" g alice /t/v6.sh pd
gw_check "ping from the delegated prefix" g alice "ping -c3 -i0.2 -W3 -I \$(ip -6 -br addr show lan0 scope global | awk '{sub(\"/.*\",\"\",\$3); print \$3}') $WEB6"
gw_check "the subscriber is joined up in REST" api check 'user("alice")["state"] == "open" and user("alice")["ike_id"] == "alice@example.net" and user("alice")["ipv6_prefix"] and user("alice")["counters"]["in_v6_packets"] > 0'
gw_check "its child SA counts packets both ways" api check 'any(s["in_packets"] > 0 and s["out_packets"] > 0 and s["mode"] == "transport" and not s["encap"] for s in child)'
check "full-size packets in both families" g alice "ping -c2 -W3 -M do -s 1352 $WEB6 && ping -c2 -W3 -M do -s 1372 $WEB4"

say "the client hangs up"
check "client closes PPP and L2TP" g alice '/t/l2tp.sh hangup; /t/l2tp.sh down'
gw_check "gateway released the session" api wait 'not user("alice")'
g alice /t/l2tp.sh stop
check "client deletes the IKE SA" g alice '/t/ike.sh down gw'
gw_check "gateway released the SAs" api wait 'not any(s["remote_id"] == "alice@example.net" for s in ike)'

say "the gateway disconnects"
check "IKE again" g alice '/t/ike.sh up gw'; ppp_up alice || finish
if [ "$PEER" != linux ]; then
  api disconnect "$(api value 'user("alice")["id"]')"
  check "client sees PPP go down" g alice /t/l2tp.sh down
  gw_check "session is gone in REST" api wait 'not user("alice")'
fi
undisturbed
gateway_stop
finish
