#!/bin/bash
# IPv6 outer by a third party: strongSwan over IPv6, xl2tpd behind a relay on the guest's loopback; IPv4 inside
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:2001:db8:a::2/64
REFERENCE_LNS=127.0.0.1 REFERENCE_MORE="/t/l2tp.sh relay6-server $GW6" gateway; ready alice
check "gateway's host stack answers ping" g alice "ping -c3 -i0.2 -W2 $GW6"
ike_up alice 2001:db8:a::2 $GW6 || finish
g alice "/t/l2tp.sh relay6 $GW6 2001:db8:a::2"
USERVARS="LPORT=1702" ppp_up alice 127.0.0.9 || finish
traffic alice
check "full-size IPv4 packets" g alice "ping -c2 -W3 -M do -s 1372 $WEB4"
gw_check "outer is IPv6" api check 'user("alice")["outer"].startswith("[2001:db8:a::2]")'
gateway_stop
finish
