#!/bin/bash
# mesh.sh - two gateways as AFBRs join two IPv4 islands over a core that knows only IPv6, encrypted, on this machine.
#
#   island 10.1.0.0/24 ── AFBR west ══ core, IPv6 only ══ AFBR east ── island 10.2.0.0/24
#
# Network namespaces; nothing of the machine's own network is touched, and all of it is gone at the end.
# HOLD=1 leaves it running until Ctrl-C. Exit status 1 when the ping does not come back.
[ "$(id -u)" = 0 ] || { echo "the demo makes network namespaces: run it as root, e.g.  sudo make demo-mesh" >&2; exit 1; }
export LOGS=${LOGS:-$(cd "$(dirname "$0")" && pwd)/../interop/work/logs} WEB_BYTES=${WEB_BYTES:-50000000}
. "$(dirname "$0")/../interop/lib.sh"
CORE_FAMILY=6; . "$(dirname "$0")/../interop/mesh.sh"
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
trap 'cleanup; exit 1' EXIT

step "1. Two islands of IPv4, two AFBRs, and a router between them that forwards IPv6 only"
mesh_layout; capture core

step "2. softwired on both AFBRs; IKEv2 brings up ESP for IP in IP"
PROTECT=secret; afbrs

step "3. From island to island"
waits 5 in_ns "$IW" ping -c1 -W1 "$IEH" >/dev/null
in_ns "$IW" ping -c 10 -i 0.2 -W 2 "$IEH" && ping_ok=yes || ping_ok=no
in_ns "$IW" curl -sS -m 120 -o "$STATE/got" -w 'downloaded %{size_download} octets in %{time_total} s: %{speed_download} octets/s\n' "$(url "$IEH")"
check "the download is complete and right" test "$(md5sum <"$STATE/got" | cut -d' ' -f1)" = "$WEB_SUM"; rm -f "$STATE/got"

step "4. What the core saw"
check "ESP, and nothing of the islands" eval '[ "$(seen core "ip6 proto 50")" -gt 1000 ] && [ "$(in_ns "$ROUTER" tcpdump -nr "$STATE/core.pcap" "ip or tcp or ip6 proto 4" 2>/dev/null | grep -c .)" = 0 ]'
in_ns "$ROUTER" tcpdump -nr "$STATE/core.pcap" -c 4 "ip6 proto 50" 2>/dev/null

step "5. What the gateways say (REST)"
echo "west:"; api show; echo "east:"; api_east show

if [ "${HOLD:-0}" = 1 ]; then
  step "It runs on. Things to try in another terminal, as root:"
  cat <<T
  ip netns exec $IW ping $IEH
  ip netns exec $ROUTER tcpdump -ni r0                      the core: ESP and IKE over IPv6
  curl -s --unix-socket $STATE/west-api/sock http://west/api/v1/softwires
  logs: $LOGS/   configuration: $STATE/
Ctrl-C here ends it.
T
  trap 'echo' INT; sleep infinity & wait $!; kill $! 2>/dev/null; trap 'exit 143' INT
fi

step "6. The end"
afbrs_stop
check "ping" test "$ping_ok" = yes
finish
