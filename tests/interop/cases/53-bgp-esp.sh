#!/bin/bash
# A Linux guest as AFBR, its routes by BIRD and by FRR, BGP in ESP: strongSwan's transport mode, one child SA for IP in IP and for TCP (M17)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
linux_layout
capture esp
# the guest alone initiates: two attempts at once make strongSwan refuse the second child SA
AFBRS= PROFILES="{ name: secret, start: respond, tfc: true }"
PEERS="{ name: linux, id: east.example.net, auth: psk, psk: mesh-key-0123456789, softwire: secret, address: \"$E\", bgp: true }"
MORE="bgp: { asn: 65000, router_id: 1.1.1.1, networks: [$IWN], neighbours: [{ address: \"$E\", asn: 65000, hold_time: 9 }] }"
west; ready linux
check "the guest reaches the gateway's end" g linux "ping -c10 -i0.3 -W2 $W | grep -q 'bytes from'"
g linux "/t/afbr.sh up $E $W $IEH/32 $IWN"
g linux "/t/afbr.sh bird start 65000 2.2.2.2 $E $W $IEN"
sleep 4
check "no session before there is an SA" api check 'bgp[0]["state"] != "Established" and bgp[0]["established"] == 0'
check "strongSwan: one child SA for protocol 4 and for TCP" g linux -t 40 "/t/ike.sh start && PSK=mesh-key-0123456789 LID=east.example.net RID=west.example.net L=$E R=$W LTS='dynamic[4],dynamic[tcp]' RTS='dynamic[4],dynamic[tcp]' REKEY=15s /t/ike.sh add gw && /t/ike.sh up gw"
# speaks NAME HOP: the guest's routes are by that speaker, which writes a next hop so
speaks() {
  must "the session with $1 is established" api wait 'bgp[0]["state"] == "Established"' 40
  check "its route leads into the softwire" api wait '[r["egresses"] for r in rib if r["prefix"] == "'$IEN'"] == [["'$E'"]]' 10
  check "$1 has ours, with an IPv6 next hop" g linux "/t/afbr.sh $1 show $IWN | grep -q '$2'"
  check "the softwire is up, its packets padded, which Linux takes off" api wait 'sw[0]["state"] == "up" and sw[0]["esp"] and sw[0]["tfc"]' 5
  check "ping from the Linux island" g linux "ping -c5 -i0.2 -W3 -I $IEH $IWH"
  check "ping to it" in_ns "$IW" ping -c5 -i0.2 -W3 "$IEH"
  check "download through it, every octet right" g linux -t 90 "[ \$(wget -q -O - http://$IWH/file | md5sum | cut -d' ' -f1) = $WEB_SUM ]"
  g linux "/t/afbr.sh $1 withdraw 65000 $IEN >/dev/null"
  check "a prefix that $1 withdraws is gone" api wait 'bgp[0]["state"] == "Established" and not rib and not sw' 5
  check "and unreachable" unreachable
  g linux "/t/afbr.sh $1 announce 65000 $IEN >/dev/null"
  check "announced again, it is back" waits 10 in_ns "$IW" ping -c1 -W1 "$IEH"
}
unreachable() { in_ns "$IW" ping -c1 -W1 "$IEH" | grep -q "Unreachable"; }
speaks bird "BGP.next_hop: $W"
check "the session outlives rekeys" eval 'sleep 20 && api check "bgp[0][\"established\"] == 1 and bgp[0][\"state\"] == \"Established\""'
g linux "/t/afbr.sh bird stop >/dev/null"
check "BIRD ends, its routes with it" api wait 'bgp[0]["state"] != "Established" and not rib' 5
g linux "/t/afbr.sh frr start 65000 2.2.2.2 $E $W $IEN"
speaks frr "$W from $W"
halt dump-esp
on_the_wire() { in_ns "$ROUTER" tcpdump -nr "$STATE/esp.pcap" "$1" 2>/dev/null | grep -c .; }
check "the core sees ESP" [ "$(on_the_wire 'ip6 proto 50')" -gt 20 ]
check "nothing of BGP that west sent is in the clear" [ "$(on_the_wire "tcp and src host $W")" = 0 ]
clear=$(api value 'c["drop.spd_clear"]')
g linux '/t/ike.sh stop'
check "strongSwan ends: without an SA there is no session" api wait 'bgp[0]["state"] != "Established" and not rib' 25
check "and what FRR says in the clear is dropped" api wait "c['drop.spd_clear'] > $clear" 10
check "west ends when asked" halted west
finish
