#!/bin/bash
# A client that vanishes (its machine is killed): DPD and HELLO clean up, and nobody else notices
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
layout
boot alice "$ACC" br0:192.0.2.2/24
DPD=2s DEAD=6s HELLO=4s L2TP_DEAD=12s gateway; bystander; ready alice
ike_up alice 192.0.2.2 $GW4 || finish
ppp_up alice || finish
check "router advertisement" g alice /t/v6.sh slaac
must "alice is there" api check 'user("alice")["state"] == "open" and st["sessions"] == 2'
guest_logs alice; vm kill alice; say "alice's machine is killed"
check "session is cleaned up" api wait 'not user("alice")' 40
check "IKE and child SAs are cleaned up" api wait 'len(ike) == 1 and len(child) == 1' 40
check "the audit log says why" grep -iE 'teardown.*alice|alice.*teardown' "$LOGS/softwired.log"
undisturbed
gateway_stop
finish
