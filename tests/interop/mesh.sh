# mesh.sh - sourced by the cases of the mesh, after lib.sh: islands, a core that knows only the other family, AFBRs.
#
#   island $IW ── g1 $WEST g0 ── r0 $ROUTER r1 ── g0 $EAST g1 ── island $IE          $CORE_FAMILY: 6 or 4
#   10.1.0.2        .1     core side 1      core side 2     .1        10.2.0.2       over an IPv6 core
#   2001:db8:b1::2  ::1                                     ::1  2001:db8:b2::2      over an IPv4 core
#
# The router forwards the core's family only; an island's packet that it sees unencapsulated goes nowhere.
WEST=$GW EAST=$PFX-east ROUTER=$PFX-router IW=$PFX-iw IE=$PFX-ie
CORE_FAMILY=${CORE_FAMILY:-6}
if [ "$CORE_FAMILY" = 6 ]; then
  W=2001:db8:f1::1 E=2001:db8:f2::1 RW=2001:db8:f1::ff RE=2001:db8:f2::ff L=64 DEFAULT=::/0
  OUTER="ip6 proto 4" ESP_OUTER="ip6 proto 50" INSIDE=1460 HEADERS=28 ELSEWHERE=10.9.9.9
  IWA=10.1.0.1 IWH=10.1.0.2 IWN=10.1.0.0/24 IEA=10.2.0.1 IEH=10.2.0.2 IEN=10.2.0.0/24 IL=24
  INNER=ipv4 HOP_W=$W HOP_E=$E
else
  W=192.0.2.1 E=203.0.113.1 RW=192.0.2.254 RE=203.0.113.254 L=24 DEFAULT=0.0.0.0/0
  OUTER="ip proto 41" ESP_OUTER="ip proto 50" INSIDE=1480 HEADERS=48 ELSEWHERE=2001:db8:b9::9
  IWA=2001:db8:b1::1 IWH=2001:db8:b1::2 IWN=2001:db8:b1::/64 IEA=2001:db8:b2::1 IEH=2001:db8:b2::2 IEN=2001:db8:b2::/64 IL=64
  INNER=ipv6 HOP_W=::ffff:c000:201 HOP_E=::ffff:cb00:7101   # $W and $E as IPv4-mapped addresses, as FRR writes them
fi

# quiet NAMESPACE IF...: the gateway owns these through AF_PACKET
quiet() {
  local ns=$1 i; shift
  for i in "$@"; do in_ns "$ns" sysctl -qw "net.ipv6.conf.$i.disable_ipv6=1" "net.ipv4.conf.$i.arp_ignore=8"; done
  in_ns "$ns" nft 'table ip quiet { chain in { type filter hook prerouting priority raw; iifname { "g0", "g1" } drop; }; }'
}
island() { # NAMESPACE AFBR ADDRESS GATEWAY
  netns "$1"; veth "$2" g1 "$1" i0; address "$1" i0 "$3/$IL"
  ip -n "$1" route add default via "$4" dev i0
}
mesh_layout() {
  netns "$WEST"; netns "$ROUTER"; netns "$EAST"
  veth "$WEST" g0 "$ROUTER" r0; address "$ROUTER" r0 "$RW/$L"
  veth "$EAST" g0 "$ROUTER" r1; address "$ROUTER" r1 "$RE/$L"
  in_ns "$ROUTER" sysctl -qw net.ipv4.ip_forward=$(( CORE_FAMILY == 4 )) net.ipv6.conf.all.forwarding=$(( CORE_FAMILY == 6 ))
  island "$IW" "$WEST" "$IWH" "$IWA"; island "$IE" "$EAST" "$IEH" "$IEA"
  quiet "$WEST" g0 g1; quiet "$EAST" g0 g1
  web "$IE"
}
# a Linux guest in the place of $EAST, on a bridge of the router; the web server is in the west
linux_layout() {
  netns "$WEST"; netns "$ROUTER" br0
  veth "$WEST" g0 "$ROUTER" r0; address "$ROUTER" r0 "$RW/$L"
  in_ns "$ROUTER" sysctl -qw net.ipv6.conf.br0.disable_ipv6=0 net.ipv6.conf.all.forwarding=1; address "$ROUTER" br0 "$RE/$L"
  island "$IW" "$WEST" "$IWH" "$IWA"; quiet "$WEST" g0 g1
  WEB_BYTES=1000000 web "$IW"
  DEFGW=$RE boot linux "$ROUTER" "br0:$E/$L"
}
# afbr NAME OWN ROUTER ISLAND-ADDRESS OTHER OTHER-PREFIXES: starts softwired in namespace $NS.
#   PROTECT=PROFILE  protects the softwire; MODE=transport|tunnel, ESP= proposals
#   PROFILES, PEERS  the mesh's profiles and the PAD in its place
#   CPU, DEVARGS     workers, and their ports' arguments
#   MESH             more settings of the mesh;  MORE  more of the file
#   ROUTES           more routes, a line each
afbr() {
  local name=$1 own=$2 router=$3 inside=$4 other=$5 behind=$6 peers=
  local one="{ name: other, address: \"$other\", prefixes: [$behind] }"
  [ -z "${PROTECT:-}" ] || peers="{ name: other, id: $([ "$name" = west ] && echo east || echo west).example.net, auth: psk, psk: ${PSK_MESH:-mesh-key-0123456789}, softwire: $PROTECT, address: \"$other\" }"
  cat >"$STATE/$name.yaml" <<Y
dataplane:
  workers: [${CPU:-$CPU_GW}]
  poll: idle
  eal: [--no-pci, $("$REPO/tests/setup/hugepages.sh" 192)]
ports:
  - { name: core, device: "net_af_packet0,iface=g0${DEVARGS:-}", zone: public, addresses: ["$own/$L"] }
  - { name: island, device: "net_af_packet1,iface=g1${DEVARGS:-}", zone: trusted, addresses: ["$inside/$IL"] }
routes:
  - { to: "$DEFAULT", via: ["$router"], port: core }
  ${ROUTES:-}
mesh:
  local: ["$own"]
  afbrs: [${AFBRS-$one}]
  profiles: [${PROFILES-"{ name: ${PROTECT:-none}, mode: ${MODE:-transport}, esp_proposals: [${ESP:-}] }"}]
  ${MESH:-}
ike:
  identity: $name.example.net
  peers: [${PEERS-$peers}]
  dpd: ${DPD:-5s}
  dead_after: ${DEAD:-5s}
  ${IKE_MORE:-}
$(api_config $name)
${MORE:-}
Y
  must "softwired accepts the configuration of $name" in_ns "$NS" "$BIN/softwired" check -c "$STATE/$name.yaml"
  spawn "$name" "$NS" "$BIN/softwired" -c "$STATE/$name.yaml"
}
# a third AFBR, behind which lies the eastern island too:  ... r2 $ROUTER ── g0 $THIRD g1 ── i1 $IE
THIRD=$PFX-third T=2001:db8:f3::1 RT=2001:db8:f3::ff
layout_third() { # ADDRESS GATEWAY of the link to the island
  netns "$THIRD"; veth "$THIRD" g0 "$ROUTER" r2; address "$ROUTER" r2 "$RT/$L"
  veth "$THIRD" g1 "$IE" i1; address "$IE" i1 "$1/$IL"; ITA=$2
  quiet "$THIRD" g0 g1
}
third() { NS=$THIRD CPU=${CPU_THIRD:-$CPU_VM} afbr third "$T" "$RT" "$ITA" "$W" "\"$IWN\""; }
api_third() { api_of third "$@"; }
west() { NS=$WEST afbr west "$W" "$RW" "$IWA" "$E" "\"$IEN\""; }
east() { NS=$EAST CPU=${CPU_EAST:-$CPU_VM} afbr east "$E" "$RE" "$IEA" "$W" "\"$IWN\""; }
api() { api_of west "$@"; }
api_east() { api_of east "$@"; }
afbrs() { # both, and up
  west; east
  must "west is up" api wait 'len(sw) == 1 and sw[0]["state"] == "up"' 40
  must "east is up" api_east wait 'len(sw) == 1 and sw[0]["state"] == "up"' 40
  check "plain HTTP is refused" tls_only "$WEST"
}
afbrs_stop() { check "west ends when asked" halted west; check "east ends when asked" halted east; }
url() { case $1 in *:*) echo "http://[$1]/file";; *) echo "http://$1/file";; esac; }
islands_talk() {
  # the first packets may wait for neighbours to be resolved
  check "island to island" waits 5 in_ns "$IW" ping -c1 -W1 "$IEH"
  check "ping, nothing lost" in_ns "$IW" ping -c20 -i0.05 -W2 "$IEH"
  check "and back" in_ns "$IE" ping -c20 -i0.05 -W2 "$IWH"
  check "download, every octet right" eval '[ "$(in_ns "$IW" curl -sS -m 60 "$(url $IEH)" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'
}

capture() { spawn "dump-$1" "$ROUTER" tcpdump --immediate-mode -Uni r0 -w "$STATE/$1.pcap"; sleep 1; }
# seen CAPTURE FILTER: how many packets
seen() { halt "dump-$1"; in_ns "$ROUTER" tcpdump -nr "$STATE/$1.pcap" "$2" 2>/dev/null | grep -c .; }
forge() { in_ns "$ROUTER" /usr/bin/python3 "$INTEROP/frames.py" ipip "$@"; }

# frr NAME NAMESPACE: FRR's bgpd, its configuration on stdin; with BFD, the configuration of bfdd, zebra and bfdd beside it
frr() {
  local d=$STATE/$1 daemon daemons=bgpd flags
  mkdir -p "$d"; touch "$LOGS/$1.log"; { echo "log file $LOGS/$1.log debugging"; echo "debug bgp neighbor-events"; cat; } >"$d/bgpd.conf"
  [ -z "${BFD:-}" ] || { : >"$d/zebra.conf"; echo "$BFD" >"$d/bfdd.conf"; daemons="zebra bfdd bgpd"; }
  chown -R frr "$d" "$LOGS/$1.log"; chmod go+rX "$STATE"
  for daemon in $daemons; do
    case $daemon in bfdd) flags="--bfdctl $d/bfdd.sock";; *) flags=;; esac
    [ "$daemons" = bgpd ] && flags=-Z || flags="$flags -z $d/zserv.api"
    spawn "$1-$daemon" "$2" /usr/lib/frr/$daemon -f "$d/$daemon.conf" -i "$d/$daemon.pid" --vty_socket "$d" -A 127.0.0.1 -u frr -g frr $flags
    waits 10 test -S "$d/$daemon.vty"
  done
}
# vty NAME COMMAND...: says it to the daemons of that FRR
vty() { local name=$1 c args=(); shift; for c in "$@"; do args+=(-c "$c"); done; vtysh --vty_socket "$STATE/$name" "${args[@]}"; }

told() { logged west 'IKE SA down' | tail -1 | grep -q Deleted; }

# the whole story of two AFBRs, for either family of the core
mesh_case() {
  mesh_layout
  capture clear
  afbrs
  islands_talk
  check "the core carries IP in IP" [ "$(seen clear "$OUTER")" -gt 40 ]
  check "REST counts the softwire's packets" api check 'sw[0]["out_packets"] > 40 and sw[0]["in_packets"] > 40 and not sw[0]["esp"]'
  check "the SPD shows a bypass for each encapsulation" api check 'len([r for r in spd if r["action"] == "BYPASS" and r["name"].endswith("-in-ip")]) == 2'
  check "a packet too big for the softwire is told to its source" refused in_ns "$IW" ping -c1 -W2 -M do -s $((INSIDE - HEADERS + 1)) "$IEH"
  check "which has learned the MTU" eval 'ip -n "$IW" route get "$IEH" | grep -q "mtu $INSIDE"'
  check "one that fits passes" in_ns "$IW" ping -c2 -W2 -M do -s $((INSIDE - HEADERS)) "$IEH"
  ip -n "$ROUTER" link set r1 mtu 1400   # a narrow link in the core
  in_ns "$IW" ping -c3 -i0.3 -W1 -M do -s $((INSIDE - HEADERS)) "$IEH" >/dev/null
  check "west learns the path MTU" api wait 'sw[0]["path_mtu"] == 1400' 5
  check "download over the narrow path" eval '[ "$(in_ns "$IW" curl -sS -m 60 "$(url $IEH)" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'
  ip -n "$ROUTER" link set r1 mtu 1500
  forge "$RW" "$W" "$IEH" "$IWH"; check "a stranger's encapsulation is dropped" drops softwire_unknown
  forge "$E" "$W" "$ELSEWHERE" "$IWH"; check "an inner source from elsewhere is dropped (M9)" drops softwire_source
  afbrs_stop
  for MODE in transport tunnel; do mesh_protected; done
  finish
}
mesh_protected() {
  capture "$MODE"
  PROTECT=secret; afbrs
  islands_talk
  check "the core sees ESP ($MODE)" [ "$(seen "$MODE" "$ESP_OUTER")" -gt 40 ]
  check "and no packet of an island" [ "$(in_ns "$ROUTER" tcpdump -nr "$STATE/$MODE.pcap" "$OUTER or tcp" 2>/dev/null | grep -c .)" = 0 ]
  check "REST shows the SA ($MODE)" api check 'sw[0]["esp"] and child[0]["mode"] == "'$MODE'"'
  forge "$E" "$W" "$IEH" "$IWH"; check "a clear packet to the protected softwire is dropped" drops softwire_clear
  check "east leaves" halted east
  check "west is told" waits 3 told
  check "and its softwire is down" api check 'sw[0]["state"] == "down"'
  check "without its SA nothing leaves" refused in_ns "$IW" ping -c3 -i0.2 -W1 "$IEH"
  check "and that is counted" drops sa_missing
  east
  check "when east is back, so is the softwire" api wait 'sw[0]["state"] == "up"' 70
  check "ping again" waits 10 in_ns "$IW" ping -c3 -i0.2 -W1 "$IEH"
  afbrs_stop
}

# two AFBRs that learn their softwires by iBGP from FRR as route reflector, for either family of the core: IPv4 prefixes
# with IPv6 next hops (RFC 8950), or IPv6 prefixes with IPv4-mapped ones (RFC 4798)
reflected() { # NETWORK ROUTER-ID REFLECTOR: the file's part
  echo "bgp: { asn: 65000, router_id: $2, networks: [\"$1\"], neighbours: [{ address: \"$3\", asn: 65000, hold_time: 9 }] }"
}
reflected_case() {
  mesh_layout
  frr rr "$ROUTER" <<F
router bgp 65000
 bgp router-id 9.9.9.9
 no bgp default ipv4-unicast
 neighbor afbr peer-group
 neighbor afbr remote-as 65000
 neighbor afbr capability extended-nexthop
 neighbor afbr timers 3 9
 neighbor $W peer-group afbr
 neighbor $E peer-group afbr
 address-family $INNER unicast
  neighbor afbr activate
  neighbor afbr route-reflector-client
 exit-address-family
F
  AFBRS=
  MORE=$(reflected "$IWN" 1.1.1.1 "$RW") west; MORE=$(reflected "$IEN" 2.2.2.2 "$RE") east
  must "west's session with FRR is established" api wait 'bgp[0]["state"] == "Established"' 40
  must "east's too" api_east wait 'bgp[0]["state"] == "Established"' 40
  check "west has learned what lies behind east" api wait 'any(r["prefix"] == "'$IEN'" and r["egresses"] == ["'$E'"] for r in rib)' 10
  check "and has a softwire to it" api wait 'any(s["remote"] == "'$E'" and s["state"] == "up" for s in sw)' 5
  check "FRR has both prefixes with next hops in the core" eval 'vty rr "show bgp $INNER unicast" | tee "$LOGS/rib.txt" | grep -A1 "$IWN" | grep -q "$HOP_W" && grep -A1 "$IEN" "$LOGS/rib.txt" | grep -q "$HOP_E"'
  islands_talk
  check "east leaves" halted east
  check "its routes go at once" api wait 'not rib and not sw' 3
  check "packets for its island are unreachable" refused in_ns "$IW" ping -c1 -W1 "$IEH"
  MORE=$(reflected "$IEN" 2.2.2.2 "$RE") east
  check "when it is back, so are its routes" api wait 'len(rib) == 1' 40
  check "ping again" waits 10 in_ns "$IW" ping -c3 -i0.2 -W1 "$IEH"
  kill -KILL "${PID[east]}"
  check "an AFBR that dies is noticed by the hold timer" api wait 'not rib' 15
  halt rr-bgpd
  check "a reflector that dies is noticed" api wait 'bgp[0]["state"] != "Established"' 15
  check "west ends when asked" halted west
  finish
}
