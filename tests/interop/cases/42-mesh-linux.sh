#!/bin/bash
# A Linux guest as the far AFBR: ip6_tunnel over an IPv6 core, in the clear, then under strongSwan's transport-mode ESP
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
linux_layout
west; ready linux
check "the guest reaches the gateway's end" g linux "ping -c10 -i0.3 -W2 $W | grep -q 'bytes from'"
g linux "/t/afbr.sh up $E $W $IEH/32 $IWN"
talk() {
  check "ping from the Linux island ($1)" g linux "ping -c5 -i0.2 -W3 -I $IEH $IWH"
  check "ping to it ($1)" in_ns "$IW" ping -c5 -i0.2 -W3 "$IEH"
  check "download through it, every octet right ($1)" g linux -t 90 "[ \$(wget -q -O - http://$IWH/file | md5sum | cut -d' ' -f1) = $WEB_SUM ]"
}
talk clear
check "REST counts it" api check 'sw[0]["in_packets"] > 10 and sw[0]["out_packets"] > 10'
check "west ends when asked" halted west
# the guest alone initiates: two attempts at once make strongSwan refuse the second child SA
PROTECT=secret PROFILES="{ name: secret, start: respond }" west
check "nothing passes before there is an SA" refused in_ns "$IW" ping -c2 -i0.2 -W1 "$IEH"
check "strongSwan: IKE SA, child SA for protocol 4" g linux -t 40 "/t/ike.sh start && PSK=mesh-key-0123456789 LID=east.example.net RID=west.example.net L=$E R=$W LTS='dynamic[4]' RTS='dynamic[4]' REKEY=15s /t/ike.sh add gw && /t/ike.sh up gw"
must "the softwire is up" api wait 'sw[0]["state"] == "up" and sw[0]["esp"]' 20
talk ESP
check "SAs are rekeyed and nothing is lost" eval 'in_ns "$IW" ping -c200 -i0.1 -W2 "$IEH" | grep -q " 0% packet loss" && api check "len(child) >= 1 and child[0][\"spi_in\"] != \"11000000\""'
talk rekeyed
g linux '/t/ike.sh down gw >/dev/null'
check "the peer's DELETE takes the softwire down" api wait 'sw[0]["state"] == "down"' 10
check "west ends when asked" halted west
finish
