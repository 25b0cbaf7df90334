#!/bin/bash
# Dropped and counted: L2TP in the clear, StopCCN forged outside the SA, replayed ESP, spoofed inner source, another's ids
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
layout
boot alice "$ACC" br0:192.0.2.2/24
gateway; bystander; ready alice
ike_up alice 192.0.2.2 $GW4 || finish
ppp_up alice || finish
check "router advertisement" g alice /t/v6.sh slaac || finish
MAC=$(ip -n "$GW" -o link show g0 | grep -o 'link/ether [0-9a-f:]*' | cut -d' ' -f2)
netns "$PFX-evil"; veth "$PFX-evil" e0 "$ACC" evil0; port "$ACC" br0 evil0
frames() { in_ns "$PFX-evil" /usr/bin/python3 "$INTEROP/frames.py" "$@"; }
# counted REASON N COMMAND...: the drop counter grows by N (or more, with N+)
counted() {
  local before want=$2 reason=$1; before=$(api value "c[\"drop.$reason\"]"); shift 2; "$@" || return 1
  case $want in *+) api wait "c[\"drop.$reason\"] >= $before + ${want%+}" 5;; *) api wait "c[\"drop.$reason\"] == $before + $want" 5;; esac
}
id() { api value "user(\"$1\")[\"$2\"]"; }

check "SCCRQ in the clear from a stranger" counted spd_clear 1 frames l2tp-clear e0 192.0.2.66 $GW4 "$MAC" sccrq
check "SCCRQ in the clear from alice's address" counted spd_clear 1 frames l2tp-clear e0 192.0.2.2 $GW4 "$MAC" sccrq
check "StopCCN for alice's tunnel outside the SA" counted spd_clear 1 frames l2tp-clear e0 192.0.2.2 $GW4 "$MAC" stopccn "$(id alice tunnel)"
check "data for alice's session outside the SA" counted spd_clear 1 frames l2tp-clear e0 192.0.2.2 $GW4 "$MAC" data "$(id alice tunnel)" "$(id alice session)"
check "nothing came of it" api check 'len(subs) == 2 and st["open_sessions"] == 2'

# seen on the gateway's port of the bridge, alice's next ESP packet is sent ten times more
g alice "setsid ping -i0.5 -w 20 $WEB6 >/dev/null 2>&1 </dev/null &"
check "replayed ESP, ten times" counted esp_replay 10 in_ns "$ACC" /usr/bin/python3 "$INTEROP/frames.py" replay gw0 192.0.2.2 10

check "spoofed inner IPv6 source" counted inner_source 3+ g alice "ip addr add 2001:db8:bad::1/128 dev lo nodad; ping -c3 -i0.2 -W1 -I 2001:db8:bad::1 $WEB6; [ \$? = 1 ]"
check "spoofed inner IPv4 source" counted inner_source 3+ g alice "ip addr add 203.0.113.9/32 dev lo; ping -c3 -i0.2 -W1 -I 203.0.113.9 $WEB4; [ \$? = 1 ]"

# inside alice's SA, with bob's ids: a second socket on her port 1701
inside() { g alice "printf '$(/usr/bin/python3 "$INTEROP/frames.py" payload "$@")' | socat -t0 - UDP4-SENDTO:$GW4:1701,bind=:1701,reuseaddr"; }
check "data with bob's ids under alice's SA" counted session_binding 1 inside data "$(id bob tunnel)" "$(id bob session)"
refusals() { local before; before=$(api value 'c["l2tp.binding"]'); "$@" && api wait "c[\"l2tp.binding\"] == $before + 1" 5; }
check "StopCCN for bob's tunnel under alice's SA" refusals inside stopccn "$(id bob tunnel)"
check "CDN for bob's session under alice's SA" refusals inside cdn "$(id bob tunnel)" "$(id bob session)"
check "ids that nobody has" counted session_unknown 1 inside data 65534 65534

check "both softwires are still open" api check 'st["open_sessions"] == 2'
check "alice is not disturbed" g alice "ping -c5 -i0.2 -W3 $WEB6"
undisturbed
gateway_stop
finish
