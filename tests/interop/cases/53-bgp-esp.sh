#!/bin/bash
# BGP in ESP with a Linux guest as AFBR: BIRD over strongSwan's transport-mode ESP, one child SA for IP in IP and for TCP (M17)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
netns "$WEST"; netns "$ROUTER" br0
veth "$WEST" g0 "$ROUTER" r0; address "$ROUTER" r0 "$RW/$L"
in_ns "$ROUTER" sysctl -qw net.ipv6.conf.br0.disable_ipv6=0 net.ipv6.conf.all.forwarding=1; address "$ROUTER" br0 "$RE/$L"
island "$IW" "$WEST" "$IWH" "$IWA"; quiet "$WEST" g0 g1
DEFGW=$RE boot linux "$ROUTER" "br0:$E/$L"
capture esp
# the guest alone initiates: two attempts at once make strongSwan refuse the second child SA
AFBRS= PROFILES="{ name: secret, start: respond }"
PEERS="{ name: linux, id: east.example.net, auth: psk, psk: mesh-key-0123456789, softwire: secret, address: \"$E\", bgp: true }"
MORE="bgp: { asn: 65000, router_id: 1.1.1.1, networks: [$IWN], neighbours: [{ address: \"$E\", asn: 65000, hold_time: 9 }] }"
west; ready linux
check "the guest reaches the gateway's end" g linux "ping -c10 -i0.3 -W2 $W | grep -q 'bytes from'"
g linux "/t/afbr.sh up $E $W $IEH/32 $IWN"
g linux "/t/afbr.sh bird 65000 2.2.2.2 $E $W $IEN"
sleep 4
check "no session before there is an SA" api check 'bgp[0]["state"] != "Established" and bgp[0]["established"] == 0'
check "strongSwan: one child SA for protocol 4 and for TCP" g linux -t 40 "/t/ike.sh start && PSK=mesh-key-0123456789 LID=east.example.net RID=west.example.net L=$E R=$W LTS='dynamic[4],dynamic[tcp]' RTS='dynamic[4],dynamic[tcp]' REKEY=15s /t/ike.sh add gw && /t/ike.sh up gw"
must "the session with BIRD is established" api wait 'bgp[0]["state"] == "Established"' 40
check "its route leads into the softwire" api wait '[r["egresses"] for r in rib if r["prefix"] == "'$IEN'"] == [["'$E'"]]' 10
check "BIRD has ours, with an IPv6 next hop" g linux "birdc -s /tmp/bird.ctl show route all $IWN | grep -q 'BGP.next_hop: $W'"
check "the softwire is up" api wait 'sw[0]["state"] == "up" and sw[0]["esp"]' 5
check "ping from the Linux island" g linux "ping -c5 -i0.2 -W3 -I $IEH $IWH"
check "ping to it" in_ns "$IW" ping -c5 -i0.2 -W3 "$IEH"
check "the session outlives rekeys" eval 'sleep 20 && api check "bgp[0][\"established\"] == 1 and bgp[0][\"state\"] == \"Established\""'
halt dump-esp
on_the_wire() { in_ns "$ROUTER" tcpdump -nr "$STATE/esp.pcap" "$1" 2>/dev/null | grep -c .; }
check "the core sees ESP" [ "$(on_the_wire 'ip6 proto 50')" -gt 20 ]
check "nothing of BGP that west sent is in the clear" [ "$(on_the_wire "tcp and src host $W")" = 0 ]
g linux '/t/ike.sh stop'
check "strongSwan ends: without an SA there is no session" api wait 'bgp[0]["state"] != "Established" and not rib' 25
check "and what BIRD says in the clear is dropped" drops spd_clear
check "west ends when asked" halted west
finish
