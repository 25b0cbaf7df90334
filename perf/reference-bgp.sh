#!/bin/bash
# reference-bgp.sh [softwired] [bird] [frr] - the same full table (perf feed) over TCP to each of them, one after the
# other: seconds from the first UPDATE octet until it has all routes, until 500,000 changes of single routes are through, and
# until all are withdrawn; its processor time in each, and its memory.
#
#   namespace sw-feed: perf feed  2001:db8:f1::9 ── veth ── 2001:db8:f1::1  the speaker: namespace sw-dut
#
# iBGP, IPv4 with IPv6 next hops (RFC 8950), no hold time. bird and frr keep the routes to themselves: no kernel, no zebra.
# softwired has them in its forwarding tables, which its worker uses. Every speaker is on core 1, the worker and the feed are
# on core 0. RUNS=n repeats. As root; packages: tests/setup/apt.sh bench.
set -eu
REPO=$(cd "$(dirname "$0")/.." && pwd); BIN=${BIN:-$REPO/target/release}; PERF=$BIN/perf
DUT=sw-dut FEED=sw-feed US=2001:db8:f1::1 THEM=2001:db8:f1::9 ROUTES=1250000 MARK=1000
TMP= PIDS=
cleanup() {
  local p
  for p in $PIDS; do kill "$p" 2>/dev/null || true; done
  for p in $PIDS; do wait "$p" 2>/dev/null || true; done
  PIDS=
  ip netns del $FEED 2>/dev/null || true; ip netns del $DUT 2>/dev/null || true
  rm -rf "$TMP"
}
# A signal is heard when the command in the foreground ends: none takes long, and what waits is no subshell.
trap 'trap "" HUP INT TERM; cleanup' EXIT; trap "exit 129" HUP; trap "exit 130" INT; trap "exit 143" TERM
dut() { ip netns exec $DUT "$@"; }
layout() {
  ip netns add $DUT; ip netns add $FEED
  ip link add d0 netns $DUT type veth peer name f0 netns $FEED
  ip -n $DUT link set lo up; ip -n $FEED link set lo up
  ip netns exec $FEED sysctl -qw net.ipv6.conf.f0.accept_dad=0
  dut sysctl -qw net.ipv6.conf.d0.accept_dad=0
  # The gateway takes and makes finished frames.
  ip netns exec $FEED ethtool -K f0 tx off >/dev/null; dut ethtool -K d0 tx off tso off gso off gro off >/dev/null
  ip -n $FEED addr add $THEM/64 dev f0; ip -n $FEED link set f0 up; ip -n $DUT link set d0 up
}

start_bird() {
  ip -n $DUT addr add $US/64 dev d0
  cat >"$TMP/bird.conf" <<C
router id 10.255.0.254;
protocol device {}
protocol bgp feed {
  local $US as 65000; neighbor $THEM as 65000; passive yes; direct; hold time 0;
  ipv4 { import all; export none; extended next hop on; gateway direct; };
  ipv6 { import all; export none; gateway direct; };
}
C
  ip netns exec $DUT bird -f -c "$TMP/bird.conf" -s "$TMP/bird.ctl" -P "$TMP/bird.pid" >"$TMP/log" 2>&1 & PIDS="$PIDS $!"; SPEAKER=$!
}
count_bird() { dut birdc -s "$TMP/bird.ctl" show route count 2>/dev/null | awk '/routes for/ { n += $1 } END { print n + 0 }'; }

start_frr() {
  ip -n $DUT addr add $US/64 dev d0
  cat >"$TMP/bgpd.conf" <<C
router bgp 65000
 bgp router-id 10.255.0.254
 no bgp default ipv4-unicast
 neighbor $THEM remote-as 65000
 neighbor $THEM passive
 neighbor $THEM timers 0 0
 neighbor $THEM capability extended-nexthop
 address-family ipv4 unicast
  neighbor $THEM activate
 exit-address-family
 address-family ipv6 unicast
  neighbor $THEM activate
 exit-address-family
C
  chmod -R go+rwX "$TMP"; chown -R frr "$TMP"
  ip netns exec $DUT /usr/lib/frr/bgpd -Z -f "$TMP/bgpd.conf" -i "$TMP/bgpd.pid" --vty_socket "$TMP" -A 127.0.0.1 -P 2605 -u frr -g frr >"$TMP/log" 2>&1 &
  PIDS="$PIDS $!"; SPEAKER=$!
}
count_frr() {
  dut vtysh --vty_socket "$TMP" -d bgpd -c "show bgp summary json" 2>/dev/null | python3 -c '
import json, sys
try: print(sum(p.get("pfxRcd", 0) for f in json.load(sys.stdin).values() for p in f.get("peers", {}).values()))
except ValueError: print(0)'
}

start_softwired() {
  dut sysctl -qw net.ipv6.conf.d0.disable_ipv6=1
  cat >"$TMP/softwired.yaml" <<C
dataplane: { workers: [0], poll: idle, max_routes: 1048576, eal: [--no-pci, $("$REPO/tests/setup/hugepages.sh" 96)] }
ports: [{ name: core, device: "net_af_packet0,iface=d0", zone: public, addresses: ["$US/64"] }]
mesh: { local: ["$US"] }
bgp: { asn: 65000, router_id: 10.255.0.254, neighbours: [{ address: "$THEM", asn: 65000, passive: true, hold_time: 0 }] }
api: { socket: $TMP/api.sock, state: $TMP }
C
  ip netns exec $DUT "$BIN/softwired" -c "$TMP/softwired.yaml" >"$TMP/log" 2>&1 & PIDS="$PIDS $!"; SPEAKER=$!
}
count_softwired() { curl -s -m 5 --unix-socket "$TMP/api.sock" http://dut/metrics | awk '/^softwire_fib.*what="routes"/ { n += $2 } END { print n + 0 }'; }

# until_count COUNT ge|le NUMBER WHAT: TOOK is the time in seconds since the feed has begun with WHAT when the count is so
until_count() {
  local n begun end=$(( $(date +%s) + ${LIMIT:-300} ))
  until begun=$(awk -v w="$4" '$1 == "begin" && $2 == w { print $3 }' "$TMP/feed"); [ -n "$begun" ]; do
    kill -0 "$FEEDER" || { cat "$TMP/feed" >&2; exit 1; }
    sleep 0.1
  done
  while :; do
    n=$("$1"); [ "$n" "-$2" "$3" ] && break
    [ "$(date +%s)" -lt "$end" ] || { echo "$NAME: $n routes after ${LIMIT:-300} s" >&2; tail -5 "$TMP/log" >&2; exit 1; }
    kill -0 "$SPEAKER" || { tail -5 "$TMP/log" >&2; exit 1; }
    sleep 0.1
  done
  TOOK=$(awk "BEGIN { printf \"%.1f\", ($(date +%s%N) - $begun) / 1e9 }")
}
# Threads that come later are on their parents' core.
pin() {
  local t
  for t in /proc/"$SPEAKER"/task/*; do
    case $(cat "$t/comm") in worker*) ;; *) taskset -pc 1 "${t##*/}" >/dev/null ;; esac
  done
}
# Processor time in seconds, all threads but the worker.
spent() {
  cat /proc/"$SPEAKER"/task/*/stat | awk -v hz="$(getconf CLK_TCK)" '
    { name = $0; sub(/\).*/, "", name); sub(/.*\(/, "", name); sub(/.*\) /, ""); if (name !~ /^worker/) n += $12 + $13 }
    END { printf "%.1f", n / hz }'
}
resident() { awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$SPEAKER/status"; }

measure() {
  NAME=$1; TMP=$(mktemp -d); layout; "start_$NAME"
  sleep 3; kill -0 "$SPEAKER" || { cat "$TMP/log" >&2; exit 1; }
  pin
  local before loaded churned gone base memory t0 t1 t2 t3; before=$(resident); base=$("count_$NAME"); t0=$(spent)
  mkfifo "$TMP/ask"; exec 9<>"$TMP/ask"
  ip netns exec $FEED taskset -c 0 "$PERF" feed $US 65000 $THEM <"$TMP/ask" >"$TMP/feed" 2>&1 & FEEDER=$!; PIDS="$PIDS $FEEDER"
  until_count "count_$NAME" ge $(( base + ROUTES )) announced; loaded=$TOOK
  memory=$(resident); t1=$(spent)
  echo churn >&9
  until_count "count_$NAME" le $(( base + ROUTES - MARK )) churned; churned=$TOOK; t2=$(spent)
  echo withdraw >&9
  until_count "count_$NAME" le "$base" withdrawn; gone=$TOOK; t3=$(spent)
  awk -v name="$NAME" -v a="$loaded" -v b="$churned" -v c="$gone" -v t0="$t0" -v t1="$t1" -v t2="$t2" -v t3="$t3" \
    -v m="$memory" -v n="$before" -v r="$ROUTES" 'BEGIN {
      printf "%-10s %6.1f s to learn (processor %.1f), %6.1f s to churn (%.1f), %6.1f s to forget (%.1f), %d MiB (%d before), ", \
        name, a, t1 - t0, b, t2 - t1, c, t3 - t2, m, n
      printf "%d octets a route\n", (m - n) * 1048576 / r }'
  exec 9>&-
}
for run in $(seq "${RUNS:-1}"); do
  for name in ${*:-softwired bird frr}; do measure "$name"; cleanup; done
done
