#!/bin/bash
# Three AFBRs with BFD, FRR as its peer over one hop and over several: an AFBR that dies is left at once
#
#   island $IW ── west ── core ──┬── east ───┬─ CE of island $IE (FRR: eBGP, BFD over one hop)
#                                ├── third ──┘  10.2.0.2
#                                └── FRR beyond the core's router (iBGP, BFD over several hops)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
IEH=10.22.0.2 IEA=10.22.0.1 IEN=10.2.0.0/24 HOST=10.2.0.2 RR=2001:db8:f9::9 FAR=$PFX-far
mesh_layout; layout_third 10.23.0.2 10.23.0.1
ip -n "$IE" route del default; address "$IE" lo "$HOST/24"
netns "$FAR"; veth "$FAR" n0 "$ROUTER" r3; address "$FAR" n0 "$RR/64"; address "$ROUTER" r3 2001:db8:f9::ff/64
ip -n "$FAR" route add default via 2001:db8:f9::ff

# ---- FRR -------------------------------------------------------------------------------------------------------
BFD=$(printf 'bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 250\n  transmit-interval 250')
frr_up() { [ "$(vty "$1" "show bfd peers" | grep -c 'Status: up')" = "$2" ]; }
frr rr "$FAR" <<F
router bgp 65000
 bgp router-id 9.9.9.9
 no bgp default ipv4-unicast
 neighbor afbr peer-group
 neighbor afbr remote-as 65000
 neighbor afbr bfd profile fast
 neighbor afbr capability extended-nexthop
 neighbor afbr timers 10 60
 neighbor $W peer-group afbr
 neighbor $E peer-group afbr
 neighbor $T peer-group afbr
 address-family ipv4 unicast
  neighbor afbr activate
 exit-address-family
F
frr ce "$IE" <<F
router bgp 65020
 bgp router-id 10.2.0.2
 no bgp ebgp-requires-policy
 neighbor gw peer-group
 neighbor gw remote-as 65000
 neighbor gw bfd profile fast
 neighbor gw timers 10 60
 neighbor $IEA peer-group gw
 neighbor $ITA peer-group gw
F

# ---- the gateways ----------------------------------------------------------------------------------------------
both() { # ROUTER-ID NETWORKS OTHER OTHER [NEIGHBOUR]: iBGP with the other AFBRs and FRR
  cat <<Y
bfd:
  profiles:   # FRR has no keys
    - { name: fast, transmit_interval: 250ms, receive_interval: 250ms, detect_multiplier: 3 }
    - { name: keyed, transmit_interval: 250ms, receive_interval: 250ms, keys: [{ id: 7, secret: bfd-key-0123456789 }] }
bgp:
  asn: 65000
  router_id: $1
  networks: [$2]
  neighbours:
    - { address: "$3", asn: 65000, bfd: keyed }
    - { address: "$4", asn: 65000, bfd: keyed }
    - { address: "$RR", asn: 65000, bfd: fast }
    ${5:-}
Y
}
ce() { echo "- { address: $1, asn: 65020, export: accept, bfd: fast }"; }
AFBRS= MESH="bfd: keyed"
start_west() { MORE=$(both 1.1.1.1 "$IWN" "$E" "$T") west; }
start_east() { ROUTES="- { to: $IEN, via: [$IEH], port: island }" MORE=$(both 2.2.2.2 "$IEN" "$W" "$T" "$(ce "$IEH")") east; }
start_third() { ROUTES="- { to: $IEN, via: [10.23.0.2], port: island }" MORE=$(both 3.3.3.3 "$IEN" "$W" "$E" "$(ce 10.23.0.2)") third; }
start_west; start_east; start_third

BOTH='any(r["prefix"] == "'$IEN'" and sorted(r["egresses"]) == ["'$E'", "'$T'"] for r in rib)'
up() { "$1" wait "len(bfd) == $2 and all(s['state'] == 'up' for s in bfd) and all(n['state'] == 'Established' for n in bgp)" 90; }
must "west: three paths are watched, all up, all BGP sessions established" up api 3
must "east: four of them" up api_east 4
must "third: four of them" up api_third 4
must "the island lies behind east and third" api wait "$BOTH" 30
check "softwires and neighbours share sessions over several hops" api check 'all(s["multihop"] and s["neighbour"] for s in bfd) and sum(s["softwire"] for s in bfd) == 2 and all(s["bfd"] == "up" for s in sw)'
check "those of AFBRs by key" api check 'all(s["authenticated"] == s["softwire"] for s in bfd)'
check "the CE's session is over one hop" api_east check 'any(s["remote"] == "'$IEH'" and not s["multihop"] and not s["softwire"] for s in bfd)'
check "detection takes 750 ms" api check 'all(s["detection_time_ms"] == 750 for s in bfd)'
check "FRR beyond the core sees three sessions over several hops up" waits 10 frr_up rr 3
check "FRR on the island sees two over one hop" waits 10 frr_up ce 2
vty ce "show bfd peers" >"$LOGS/bfd-ce.txt"; vty rr "show bfd peers" >"$LOGS/bfd-rr.txt"
talk() {
  check "ping ($1)" waits 10 in_ns "$IW" ping -c1 -W1 "$HOST"
  check "ping, nothing lost ($1)" in_ns "$IW" ping -c20 -i0.05 -W2 "$HOST"
  check "and back ($1)" waits 5 in_ns "$IE" ping -c3 -i0.1 -W1 -I "$HOST" "$IWH"
  check "download, every octet right ($1)" eval '[ "$(in_ns "$IW" curl -sS -m 60 "http://$HOST/file" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'
}
talk "three AFBRs"

# ---- an AFBR dies ----------------------------------------------------------------------------------------------
# silence FILE: the longest time between two of its lines, which begin with seconds, in milliseconds
silence() { tr -d '[' <"$1" | awk '/ICMP echo|bytes from/ { if (last && $1 - last > most) most = $1 - last; last = $1 } END { printf "%d\n", most * 1000 }'; }
dies() { # NAME ADDRESS OTHER-ADDRESS
  local killed moved=0 ms
  api when 'any(r["prefix"] == "'$IEN'" and r["egresses"] == ["'$3'"] for r in rib)' 10 >"$STATE/moved" & moved=$!
  sleep 1
  killed=$(date +%s%N); kill -KILL "${PID[$1]}"
  wait "$moved"; moved=$(cat "$STATE/moved"); ms=$(( ${moved:-0} - killed / 1000000 ))
  say "     $1 died; its path left west's RIB $ms ms later"
  # The figure is for people; the check tells BFD from BGP's hold timer, whatever the machine.
  check "routes have moved to the other AFBR, long before the hold timer of 90 s" [ "$ms" -gt 0 -a "$ms" -lt 5000 ]
}
# the one that carries the flow of this ping
sent() { api value "next(s['out_packets'] for s in sw if s['remote'] == '$1')"; }
was=$(sent "$E"); in_ns "$IW" ping -c10 -i0.05 -W1 "$HOST" >/dev/null
[ $(( $(sent "$E") - was )) -ge 10 ] && USED=east GONE=$E LEFT=$T || USED=third GONE=$T LEFT=$E
say "     the flow goes through $USED"
spawn arrivals "$IE" tcpdump -lnni any -tt "icmp[0] == 8 and dst host $HOST"; sleep 1
spawn ping "$IW" ping -D -i0.02 -W1 "$HOST"; sleep 2
dies "$USED" "$GONE" "$LEFT"
sleep 3; halt ping INT; halt arrivals INT
ms=$(silence "$LOGS/arrivals.log"); say "     a packet every 20 ms: none reached the island for $ms ms"
check "the island is back as soon" [ "$ms" -gt 0 -a "$ms" -lt 5000 ]
say "     with the way back, which FRR on the island moves: no answer for $(silence "$LOGS/ping.log") ms"
check "REST names the dead AFBR" api check 'any(s["remote"] == "'$GONE'" and s["failed"] and s["state"] != "up" for s in bfd)'
check "its BGP session ended by BFD" api check 'any(n["address"] == "'$GONE'" and n["state"] != "Established" for n in bgp)'
talk "two AFBRs"
start_$USED
check "when it is back, so are its routes" api wait "$BOTH" 90
check "and all sessions are up" api wait 'all(s["state"] == "up" and not s["failed"] for s in bfd)' 30
talk "three again"

# ---- FRR's operator, and FRR's silence -------------------------------------------------------------------------
state() { echo "next(n['state'] for n in bgp if n['address'] == '$RR')"; }
admin() { vty rr "configure terminal" bfd "profile fast" "$1"; }
admin shutdown
check "FRR takes its sessions down" api wait 'any(s["remote"] == "'$RR'" and s["state"] != "up" and s["downs"] == 1 for s in bfd)' 10
check "which ends nothing" eval 'sleep 1; api check "$(state) == \"Established\" and not any(s[\"failed\"] for s in bfd)"'
admin "no shutdown"
check "and up again" api wait 'all(s["state"] == "up" for s in bfd)' 20
kill -KILL "${PID[rr-bfdd]}"
check "when FRR's BFD falls silent, the BGP session ends" api wait 'any(n["address"] == "'$RR'" and "bfd" in (n["last_down"] or "").lower() for n in bgp)' 5
check "the others stay" api check 'sum(n["state"] == "Established" for n in bgp) >= 2 and '"$BOTH"
for n in west east third; do check "$n ends when asked" halted "$n"; done
finish
