#!/bin/bash
# L2TP tunnel authentication both ways with xl2tpd (H14), and a wrong tunnel secret
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:192.0.2.2/24
TUNNEL_AUTH=", secret: tunnel-secret-1, challenge: true" gateway; ready alice
ike_up alice 192.0.2.2 $GW4 || finish
check "a wrong tunnel secret does not get a session" g alice "TSECRET=wrong /t/l2tp.sh lac $GW4; ! TSECRET=wrong /t/l2tp.sh wait 8"
check "xl2tpd says why" g alice "grep -q 'Invalid authentication' /tmp/l2/xl2tpd.log"
g alice '/t/l2tp.sh stop'
USERVARS="TSECRET=tunnel-secret-1" ppp_up alice || finish
check "xl2tpd verified the gateway's response" g alice "! grep -qi 'invalid.*challenge' /tmp/l2/xl2tpd.log"
traffic alice
gateway_stop
finish
