# lib.sh - what every case sources: names, checks, namespaces, guests, the web server; and cleaning up after itself.
# Everything a case makes carries the prefix $PFX (namespaces) or lies in $STATE, and goes when the case ends.
#
# The network, as `layout` makes it:
#
#   guest / initiator ── br0 in $ACC (192.0.2.0/24, 2001:db8:a::/64) ── g0 $GW g1 ── c0 in $CORE (web server)
#                                                192.0.2.1, 2001:db8:a::1     198.51.100.2, 2001:db8:c::2
#   guest ── brc in $NAT (10.1.0.0/24, masquerading as 192.0.2.254) ── br0          with `layout_nat`
set -u
INTEROP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$INTEROP/../.." && pwd)
OUT=$INTEROP/out
CASE=$(basename "$0" .sh)
LOGS=${LOGS:-$INTEROP/work/logs}/$CASE; mkdir -p "$LOGS"
PFX=swgw-$$
STATE=$(mktemp -d "/tmp/$PFX.XXXXXX"); export STATE
ACC=$PFX-acc GW=$PFX-gw CORE=$PFX-core NAT=$PFX-nat CUST=$PFX-cust
GW4=192.0.2.1 GW6=2001:db8:a::1 WEB4=198.51.100.2 WEB6=2001:db8:c::2
PEER=${PEER:-softwired}           # or "linux": a guest with strongSwan and xl2tpd in the gateway's place
CPU_VM=0 CPU_GW=$(( $(nproc) > 1 ? 1 : 0 ))

# ---- checks ----------------------------------------------------------------------------------------------------
PASSED=0 FAILED=0 T0=$(date +%s%N)
say() { printf '[%5.1f] %s\n' "$(( ($(date +%s%N) - T0) / 100000000 ))e-1" "$*"; }
# check DESCRIPTION COMMAND...: ok when the command succeeds; its output is shown when it does not
check() {
  local what=$1 out; shift
  if out=$("$@" 2>&1); then PASSED=$((PASSED+1)); say "ok   $what"
  else FAILED=$((FAILED+1)); say "FAIL $what"; tail -n 15 <<<"$out" | sed 's/^/         | /'; return 1; fi
}
# must ...: a check without which the rest of the case makes no sense
must() { check "$@" || finish; }
refused() { ! "$@"; }
finish() { trap - EXIT; cleanup; echo "$PASSED passed, $FAILED failed"; [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]; exit; }

# ---- processes and cleaning up ---------------------------------------------------------------------------------
declare -A PID=()
# spawn NAME NAMESPACE COMMAND...: in the background, output to $LOGS/NAME.log
spawn() { local name=$1 ns=$2; shift 2; ip netns exec "$ns" "$@" >>"$LOGS/$name.log" 2>&1 </dev/null & PID[$name]=$!; }
# logged NAME GREP-ARGUMENT...: lines of its log, without colours
logged() { local name=$1; shift; sed 's/\x1b\[[0-9;]*m//g' "$LOGS/$name.log" | grep "$@"; }
alive() { kill -0 "${PID[$1]:-0}" 2>/dev/null; }
# halt NAME [SIGNAL]: ends what spawn started and waits for it, at most 10 s
halt() {
  local p=${PID[$1]:-}; [ -n "$p" ] || return 0
  kill -"${2:-TERM}" "$p" 2>/dev/null
  for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$p" 2>/dev/null; wait "$p" 2>/dev/null; unset "PID[$1]"
}
cleanup() {
  local name ns p
  for name in "${!PID[@]}"; do halt "$name"; done
  for name in "$STATE"/*/pid; do [ -e "$name" ] && { name=$(basename "$(dirname "$name")"); guest_logs "$name"; vm kill "$name"; }; done
  # only namespaces of this case are touched, so whatever still runs in them is ours
  for ns in $(ip netns list | awk -v p="^$PFX-" '$1 ~ p {print $1}'); do
    for p in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$p" 2>/dev/null; done
    ip netns del "$ns"
  done
  rm -rf "$STATE"
}
trap 'cleanup; echo "$PASSED passed, $((FAILED+1)) failed (interrupted)"; exit 1' EXIT
trap 'exit 143' TERM INT HUP

# ---- network ---------------------------------------------------------------------------------------------------
in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }
# netns NAMESPACE [BRIDGE...]
netns() { ip netns add "$1"; ip -n "$1" link set lo up; bridge "$@"; }
# bridge NAMESPACE BRIDGE...
bridge() {
  local ns=$1 b; shift
  for b in "$@"; do
    ip -n "$ns" link add "$b" type bridge forward_delay 0 mcast_snooping 0
    in_ns "$ns" sysctl -qw "net.ipv6.conf.$b.disable_ipv6=1"; ip -n "$ns" link set "$b" up
  done
}
# veth NS1 IF1 NS2 IF2: checksum and segmentation offload off, so that a user-space reader sees finished frames
veth() {
  ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
  local e; for e in "$1 $2" "$3 $4"; do
    in_ns ${e% *} ethtool -K ${e#* } tx off tso off gso off gro off >/dev/null 2>&1; ip -n ${e% *} link set ${e#* } up; done
}
# address NS IF ADDRESS/LEN...
address() { local ns=$1 i=$2 a; shift 2; for a in "$@"; do case $a in *:*) ip -n "$ns" addr add "$a" dev "$i" nodad;; *) ip -n "$ns" addr add "$a" dev "$i";; esac; done; }
# port NS BRIDGE IF
port() { in_ns "$1" sysctl -qw "net.ipv6.conf.$3.disable_ipv6=1"; ip -n "$1" link set "$3" master "$2" up; }

layout() {
  netns "$ACC" br0; netns "$GW"; netns "$CORE"
  veth "$GW" g0 "$ACC" gw0; port "$ACC" br0 gw0
  veth "$GW" g1 "$CORE" c0
  # the gateway owns g0 and g1 through AF_PACKET: the kernel must not answer the same frames a second time
  local i; for i in g0 g1; do in_ns "$GW" sysctl -qw "net.ipv6.conf.$i.disable_ipv6=1" "net.ipv4.conf.$i.arp_ignore=8"; done
  in_ns "$GW" nft 'table ip quiet { chain in { type filter hook prerouting priority raw; iifname { "g0", "g1" } drop; }; }'
  address "$CORE" c0 "$WEB4/24" "$WEB6/64"
  ip -n "$CORE" route add 10.100.0.0/16 via 198.51.100.1
  ip -n "$CORE" route add 2001:db8:100::/40 via 2001:db8:c::1
  ip -n "$CORE" route add 2001:db8:f000::/36 via 2001:db8:c::1
  web "$CORE"
}
# web NAMESPACE: serves a file of WEB_BYTES there
web() {
  mkdir -p "$STATE/www"; head -c "${WEB_BYTES:-2000000}" /dev/urandom >"$STATE/www/file"; WEB_SUM=$(md5sum <"$STATE/www/file" | cut -d' ' -f1)
  spawn web "$1" /usr/bin/python3 -m http.server 80 --bind :: --directory "$STATE/www"
}
# a router that masquerades; short conntrack times, so that a silent client comes back from another port
layout_nat() {
  netns "$NAT" brc; veth "$NAT" wan "$ACC" nat0; port "$ACC" br0 nat0
  address "$NAT" wan 192.0.2.254/24; ip -n "$NAT" addr add 10.1.0.1/24 dev brc; masquerade "$NAT"
  in_ns "$NAT" sysctl -qw "net.netfilter.nf_conntrack_udp_timeout=${NAT_SECONDS:-5}" "net.netfilter.nf_conntrack_udp_timeout_stream=${NAT_SECONDS:-5}"
}
# masquerade NAMESPACE: it routes, and hides what is behind it from its interface "wan"
masquerade() { in_ns "$1" sysctl -qw net.ipv4.ip_forward=1; in_ns "$1" nft 'table ip n { chain p { type nat hook postrouting priority 100; oifname "wan" masquerade random; }; }'; }
# customer [IPv4/LEN,IPv6/LEN]: a namespace on the access network for the project's own initiator
customer() {
  netns "$CUST"; veth "$CUST" e0 "$ACC" cust0; port "$ACC" br0 cust0
  address "$CUST" e0 $(tr ',' ' ' <<<"${1:-192.0.2.20/24,2001:db8:a::20/64}")
}

# ---- guests ----------------------------------------------------------------------------------------------------
vm() { /usr/bin/python3 "$INTEROP/vmctl.py" "$@"; }
# g NAME [-t SECONDS] COMMAND: in a guest
g() { local n=$1 t=60; shift; if [ "$1" = -t ]; then t=$2; shift 2; fi; vm exec -t "$t" "$n" "$*"; }
guest_logs() { timeout 10 /usr/bin/python3 "$INTEROP/vmctl.py" exec -t 8 "$1" 'tail -n 400 /tmp/sw/charon.log /tmp/*/sw/charon.log /tmp/lsw/*.log /tmp/l2/*.log /tmp/*/l2/*.log /tmp/dhcp6c.log' >"$LOGS/guest-$1.log" 2>/dev/null; }
# boot NAME NAMESPACE BRIDGE:ADDRESS/LEN[,...][/GATEWAY]...: in the background; `ready NAME...` waits. DEFGW= default routers, SMP= processors, MEM= MB,
# IMAGE= another image (image/build.sh), which has /t as it is now.
boot() {
  local name=$1 ns=$2 i=0 n tap mac nics=() net= d=$STATE/$1 khz from=$OUT${IMAGE:+/$IMAGE} share; shift 2; mkdir -p "$d"
  for n in "$@"; do
    tap=t$name$i
    in_ns "$ns" ip tuntap add dev "$tap" mode tap; port "$ns" "${n%%:*}" "$tap"
    mac=$(md5sum <<<"$name$i" | sed 's/^\(..\)\(..\)\(..\)\(..\).*/52:54:\1:\2:\3:\4/')
    nics+=(-netdev "tap,id=n$i,ifname=$tap,script=no,downscript=no" -device "virtio-net-pci,netdev=n$i,mac=$mac,romfile=,csum=off,gso=off,host_tso4=off,host_tso6=off,host_ufo=off,host_ecn=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off")
    net="$net${net:+;}eth$i:${n#*:}"; i=$((i+1))
  done
  share=(-fsdev "local,id=share,path=$STATE/share,security_model=none,multidevs=remap,readonly=on" -device virtio-9p-pci,fsdev=share,mount_tag=share)
  if [ -n "${IMAGE:-}" ]; then
    mke2fs -qt ext4 -d "$STATE/share" "$d/share.img" 8M >/dev/null
    share=(-drive "file=$d/share.img,format=raw,if=none,id=d1,readonly=on" -device virtio-blk-pci,drive=d1)
  fi
  # the guest reads the host's TSC; its own calibration may be wrong tenfold on a busy core, so it is told the frequency
  khz=$(awk '/^bogomips/{printf "%d",$3*500; exit}' /proc/cpuinfo)
  in_ns "$ns" taskset -c "$CPU_VM" qemu-system-x86_64 -name "$name" -accel tcg,thread=multi,tb-size=128 -cpu max -M pc -m "${MEM:-256}" -smp "${SMP:-1}" \
    -nodefaults -display none -vga none -no-reboot -daemonize -pidfile "$d/pid" -serial "file:$d/console.log" \
    -kernel "$from/vmlinux" -initrd "$from/initrd.cpio" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable tsc_early_khz=$khz random.trust_cpu=on net.ifnames=0 t.host=$name t.net=$net t.gw=${DEFGW:-}" \
    -drive "file=$from/root.img,format=raw,if=none,id=d0,readonly=on,file.locking=off" -device virtio-blk-pci,drive=d0 -device virtio-rng-pci \
    -chardev "socket,id=qga,path=$d/qga.sock,server=on,wait=off" -device virtio-serial-pci -device virtserialport,chardev=qga,name=org.qemu.guest_agent.0 \
    "${share[@]}" "${nics[@]}"
}
ready() { local n; for n in "$@"; do must "guest $n is up" vm wait "$n" "${BOOT_SECONDS:-120}"; done; }
# the guest sees the scripts and the test certificates at /t
mkdir -p "$STATE/share"; cp "$INTEROP"/guest/*.sh "$STATE/share/"
pki() { "$INTEROP/pki.sh" "$STATE/share/pki"; }

. "$INTEROP/gateway.sh"

# all DESCRIPTION COMMAND: in guest "many", by customers $ALL at once (guest/ns.sh)
all() { check "$1" g many -t 90 "/t/ns.sh each '$ALL' '$2'"; }

# ---- steps that several cases share ----------------------------------------------------------------------------
# ike_up GUEST LOCAL REMOTE: PSK of alice unless AUTH=pubkey CERT=name LID=id are given in VARS
ike_up() {
  check "IKE SA and child SA (${VARS:-PSK})" g "$1" "/t/ike.sh start && ${VARS:-PSK=$PSK_ALICE LID=alice@example.net} RID=gw.example.net PKI=/t/pki L=$2 R=$3 ${IKEVARS:-} /t/ike.sh add gw && /t/ike.sh up gw"
}
ppp_up() { check "L2TP and PPP (${USERVARS:-alice})" g "$1" -t 90 "${USERVARS:-} /t/l2tp.sh lac ${2:-$GW4} && ${USERVARS:-} /t/l2tp.sh wait"; }
# traffic GUEST: both families, ping and download
traffic() {
  [ "$PEER" != linux ] || g "$PEERVM" '/t/v6.sh serve'
  check "router advertisement gives an IPv6 address" g "$1" /t/v6.sh slaac
  check "ping over IPv6" g "$1" "ping -c5 -i0.2 -W3 $WEB6"
  check "ping over IPv4" g "$1" "ping -c5 -i0.2 -W3 $WEB4"
  download "$1" "$WEB6" IPv6; download "$1" "$WEB4" IPv4
}
download() {
  local host=$2; case $2 in *:*) host="[$2]";; esac
  check "download over $3, every octet right" g "$1" -t 90 "[ \$(wget -q -O - http://$host/file | md5sum | cut -d' ' -f1) = $WEB_SUM ]"
}
