#!/bin/bash
# demo.sh - a customer with only IPv4 reaches IPv6 through the softwire gateway, on real packets, on this machine.
#
#   customer ────── access network, IPv4 only ────── gateway ────── IPv6 core with a web server
#   softwire-initiator      192.0.2.0/24             softwired          2001:db8:c::/64
#
# Four network namespaces; nothing of the machine's own network is touched, and all of it is gone at the end.
# HOLD=1 leaves it running until Ctrl-C. Exit status 1 when the ping does not come back.
[ "$(id -u)" = 0 ] || { echo "the demo makes network namespaces: run it as root, e.g.  sudo make demo" >&2; exit 1; }
export LOGS=${LOGS:-$(cd "$(dirname "$0")" && pwd)/../interop/work/logs} WEB_BYTES=${WEB_BYTES:-50000000}
. "$(dirname "$0")/../interop/lib.sh"
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
trap 'cleanup; exit 1' EXIT

step "1. Network namespaces: customer, access network (IPv4 only), gateway, IPv6 core with a web server"
layout; customer 192.0.2.20/24; ip -n "$CUST" -br addr show dev e0

step "2. softwired: DPDK workers on af_packet ports, subscribers from the embedded file"
gateway

step "3. The customer connects: IKEv2, ESP, L2TPv2, PPP"
initiator sw0 "$CUST" "$GW4" bob@example.net "$PSK_BOB" bob builder
must "the softwire is up, with an IPv6 address" waits 30 has_addresses "$CUST" sw0
ip -n "$CUST" -br addr show dev sw0

step "4. IPv6 through it"
ping_sent=$(in_ns "$CUST" ping -c 10 -i 0.2 -W 2 "$WEB6") && ping_ok=yes || ping_ok=no
printf '%s\n' "$ping_sent"
in_ns "$CUST" curl -sS -m 120 -o "$STATE/got" -w 'downloaded %{size_download} octets in %{time_total} s: %{speed_download} octets/s\n' "http://[$WEB6]/file"
check "the download is complete and right" test "$(md5sum <"$STATE/got" | cut -d' ' -f1)" = "$WEB_SUM"; rm -f "$STATE/got"

step "5. What the gateway says (REST)"
api show

if [ "${HOLD:-0}" = 1 ]; then
  step "It runs on. Things to try in another terminal, as root:"
  cat <<T
  ip netns exec $CUST ping $WEB6
  ip netns exec $ACC tcpdump -ni gw0                      the access network: only ESP (or UDP 4500) and IKE
  curl -s --unix-socket $STATE/gw-api/sock http://gw/api/v1/subscribers
  curl -s --unix-socket $STATE/gw-api/sock http://gw/metrics
  logs: $LOGS/   configuration: $STATE/
Ctrl-C here ends it.
T
  trap 'echo' INT; sleep infinity & wait $!; kill $! 2>/dev/null; trap 'exit 143' INT
fi

step "6. The end"
check "the customer leaves" halted sw0
check "the gateway keeps nothing of it" api wait 'not subs and not child'
gateway_stop
check "ping" test "$ping_ok" = yes
finish
