#!/bin/bash
# Two AFBRs that learn their softwires by iBGP from FRR as route reflector, IPv4 prefixes with IPv6 next hops (RFC 8950)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_layout
cat >"$STATE/bgpd.conf" <<F
log file $LOGS/frr.log debugging
debug bgp neighbor-events
router bgp 65000
 bgp router-id 9.9.9.9
 no bgp default ipv4-unicast
 neighbor afbr peer-group
 neighbor afbr remote-as 65000
 neighbor afbr capability extended-nexthop
 neighbor afbr timers 3 9
 neighbor $W peer-group afbr
 neighbor $E peer-group afbr
 address-family ipv4 unicast
  neighbor afbr activate
  neighbor afbr route-reflector-client
 exit-address-family
F
chmod -R go+rX "$STATE"; mkdir -p "$STATE/frr"; : >"$LOGS/frr.log"; chown frr "$STATE/frr" "$LOGS/frr.log"
spawn frr "$ROUTER" /usr/lib/frr/bgpd -Z -f "$STATE/bgpd.conf" -i "$STATE/frr/bgpd.pid" --vty_socket "$STATE/frr" -A 127.0.0.1 -P 2605 -u frr -g frr
frr() { in_ns "$ROUTER" vtysh --vty_socket "$STATE/frr" -d bgpd -c "$1"; }
bgp() { # NETWORK ROUTER-ID REFLECTOR: the file's part
  cat <<Y
bgp: { asn: 65000, router_id: $2, networks: [$1], neighbours: [{ address: "$3", asn: 65000, hold_time: 9 }] }
Y
}
AFBRS=
MORE=$(bgp "$IWN" 1.1.1.1 "$RW") west; MORE=$(bgp "$IEN" 2.2.2.2 "$RE") east

must "west's session with FRR is established" api wait 'bgp[0]["state"] == "Established"' 40
must "east's too" api_east wait 'bgp[0]["state"] == "Established"' 40
check "west has learned what lies behind east" api wait 'any(r["prefix"] == "'$IEN'" and r["egresses"] == ["'$E'"] for r in rib)' 10
check "and has a softwire to it" api wait 'any(s["remote"] == "'$E'" and s["state"] == "up" for s in sw)' 5
check "FRR has both prefixes with IPv6 next hops" eval 'frr "show bgp ipv4 unicast" | tee "$LOGS/rib.txt" | grep -A1 "$IWN" | grep -q "$W" && grep -A1 "$IEN" "$LOGS/rib.txt" | grep -q "$E"'
islands_talk
check "east leaves" halted east
check "its routes go at once" api wait 'not rib and not sw' 3
check "packets for its island are unreachable" refused in_ns "$IW" ping -c1 -W1 "$IEH"
MORE=$(bgp "$IEN" 2.2.2.2 "$RE") east
check "when it is back, so are its routes" api wait 'len(rib) == 1' 40
check "ping again" waits 10 in_ns "$IW" ping -c3 -i0.2 -W1 "$IEH"
kill -KILL "${PID[east]}"
check "an AFBR that dies is noticed by the hold timer" api wait 'not rib' 15
halt frr
check "a reflector that dies is noticed" api wait 'bgp[0]["state"] != "Established"' 15
check "west ends when asked" halted west
finish
