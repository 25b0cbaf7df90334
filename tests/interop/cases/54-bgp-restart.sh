#!/bin/bash
# An FRR that is killed and comes back: its routes stay meanwhile (RFC 4724), stale ones go after; what REST shows and does to a session
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_layout
# It waits for both AFBRs before it tells one of them that it has told all: else what the slower one announces is missing for a moment
reflector() {
  frr rr "$ROUTER" <<F
router bgp 65000
 bgp router-id 9.9.9.9
 bgp log-neighbor-changes
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time 12
 bgp graceful-restart select-defer-time 4
 update-delay 6
 neighbor afbr peer-group
 neighbor afbr remote-as 65000
 neighbor afbr capability extended-nexthop
 neighbor afbr timers 3 9
 neighbor afbr timers connect 2
 neighbor $W peer-group afbr
 neighbor $E peer-group afbr
 address-family ipv4 unicast
  neighbor afbr activate
  neighbor afbr route-reflector-client
 exit-address-family
F
}
# frr_says PYTHON: true of FRR's view n of west
frr_says() { vty rr "show bgp neighbors $W json" | /usr/bin/python3 -c 'import json, sys; n = json.load(sys.stdin)[sys.argv[1]]; sys.exit(not eval(sys.argv[2]))' "$W" "$1"; }
frr_count() { vty rr "show bgp neighbors $W json" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]]["messageStats"][sys.argv[2]])' "$W" "$1"; }
bgp() { # NETWORK ROUTER-ID REFLECTOR: the file's part
  echo "bgp: { asn: 65000, router_id: $2, networks: [$1], neighbours: [{ address: \"$3\", asn: 65000, description: reflector, hold_time: 9 }] }"
}
act() { api bgp "$RW" "$@"; }
audited() { logged west 'verb="operate"' | grep -q "$1"; }
learned='any(r["prefix"] == "'$IEN'" and r["egresses"] == ["'$E'"] for r in rib)'
stale='any(p["stale"] for r in rib for p in r["paths"])'
up='bgp[0]["state"] == "Established"'
reflector
AFBRS=
MORE=$(bgp "$IWN" 1.1.1.1 "$RW") west; MORE=$(bgp "$IEN" 2.2.2.2 "$RE") east

must "west's session with FRR is established" api wait "$up" 40
must "east's too" api_east wait "$up" 40
must "west has learned what lies behind east" api wait "$learned" 15
check "REST shows what was agreed on" api check 'bgp[0]["description"] == "reflector" and bgp[0]["negotiated"]["hold_time"] == 9 and bgp[0]["negotiated"]["extended_next_hop"] and bgp[0]["negotiated"]["route_refresh"] and bgp[0]["router_id"] == "9.9.9.9"'
check "and that FRR will be back after a restart" api check 'bgp[0]["negotiated"]["graceful_restart"]["restart_time"] == 12 and bgp[0]["negotiated"]["graceful_restart"]["families"] == {"ipv4": True}'
api value "rib_in('$RW')" >"$LOGS/rib-in.txt"
check "the Adj-RIB-In has east's route, reflected" api check '[(r["verdict"], r["best"], r["originator_id"], r["cluster_list"]) for r in rib_in("'$RW'") if r["prefix"] == "'$IEN'"] == [("accepted", True, "2.2.2.2", ["9.9.9.9"])]'
check "the Adj-RIB-Out has ours" api check '[(r["prefix"], r["next_hop"]) for r in rib_out("'$RW'")] == [("'$IWN'", "'$W'")]'
check "the Loc-RIB has both" api check '{r["prefix"] for r in loc} == {"'$IWN'", "'$IEN'"}'
check "metrics tell the state" api check '"softwire_bgp_neighbour_state{neighbour=\"'$RW'\"} 6" in metrics'

refreshes=$(frr_count routeRefreshRecv) updates=$(api value 'bgp[0]["received"]["update"]')
check "soft-in" act soft-in '{"family": "ipv4"}'
check "FRR was asked" waits 5 frr_says "n['messageStats']['routeRefreshRecv'] > $refreshes"
check "and has sent its routes again" api wait 'bgp[0]["received"]["update"] > '"$updates" 5
updates=$(frr_count updatesRecv)
check "soft-out" act soft-out
check "FRR gets ours again" waits 5 frr_says "n['messageStats']['updatesRecv'] > $updates"
check "the session is the same" api check 'bgp[0]["established"] == 1 and bgp[0]["flaps"] == 0'
check "clear, with a word" act clear '{"message": "fresh start"}'
check "FRR has read it" waits 5 grep -q "fresh start" "$LOGS/rr.log"
check "and the session is back" api wait "$up"' and bgp[0]["established"] == 2 and bgp[0]["flaps"] == 1' 30
check "with its routes" api wait "$learned and not $stale" 20
check "disable, with a word" act disable '{"message": "back at noon"}'
check "FRR has read it, too" waits 5 grep -q "back at noon" "$LOGS/rr.log"
check "no routes are kept" api wait 'not rib and bgp[0]["stopped"] == "disabled" and bgp[0]["state"] == "Idle"' 5
check "FRR has none of ours" waits 5 eval '! vty rr "show bgp ipv4 unicast" | grep -q "$IWN"'
check "a disabled neighbour is not asked for routes" refused act soft-in
sleep 4
check "it stays down" api check 'bgp[0]["state"] == "Idle"'
check "enable" act enable
check "it comes up" api wait "$up and $learned" 40
check "each action has left its line" eval 'audited "asked for again" && audited "sent to BGP" && audited "fresh start" && audited "back at noon" && audited enabled'

islands_talk
spawn ping "$IW" ping -i0.1 -w60 "$IEH"
halt rr-bgpd KILL
check "FRR is dead" api wait 'bgp[0]["state"] != "Established"' 5
check "its routes are kept as stale" api check "$learned and $stale"
check "as the neighbour says" api check 'any(f["stale"] for f in bgp[0]["families"])'
check "packets go on" in_ns "$IW" ping -c10 -i0.1 -W2 "$IEH"
reflector
check "FRR is back" api wait "$up" 12
check "its routes are fresh" api wait "$learned and not $stale" 20
halt ping INT
check "not a packet was lost meanwhile" grep -q " 0% packet loss" "$LOGS/ping.log"

halt rr-bgpd KILL
check "dead again, routes stale" api wait "$learned and $stale" 5
check "now east leaves" halted east
reflector
check "FRR is back, without east" api wait "$up" 12
check "what it does not announce again goes at End-of-RIB" api wait 'not rib and not sw' 20
MORE=$(bgp "$IEN" 2.2.2.2 "$RE") east
check "east is back" api wait "$learned and not $stale" 40
halt rr-bgpd KILL
check "dead for good, routes stale" api wait "$learned and $stale" 5
check "they go when its Restart Time is over" api wait 'not rib and not sw' 20
check "west ends when asked" halted west
finish
