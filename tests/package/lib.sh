# lib.sh - sourced by run.sh and by tests/ansible/run.sh: a Debian 12 with systemd in a folder, booted as a container with
# a network of its own. What is written there goes into an overlay, which goes when the script ends.
#
#   base      makes the root file system, once: a tar file in tests/package/out
#   boot      boots it; `inside COMMAND...` runs something there, $ROOT is its root, seen from here
set -u
PACKAGE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$PACKAGE/../.." && pwd)
OUT=$PACKAGE/out
BIN=${BIN:-${CARGO_TARGET_DIR:-$REPO/target}/release}
STATE=$(mktemp -d "/tmp/swgw-$$.XXXXXX")
ROOT=$STATE/root
# What the package depends on, and what the tests use there.
INCLUDE="systemd systemd-sysv udev dbus libipsec-mb1 librte-eal23 librte-ethdev23 librte-ip-frag23 librte-mbuf23 librte-mempool23
  librte-meta-bus librte-meta-mempool librte-meta-net iproute2 iputils-ping procps kmod ca-certificates curl python3 python3-apt prometheus
  driverctl irqbalance"

PASSED=0 FAILED=0 LEADER=
# check DESCRIPTION COMMAND...: ok when the command succeeds; its output is shown when it does not
check() {
  local what=$1; shift
  if "$@" >"$STATE/output" 2>&1; then PASSED=$((PASSED+1)); echo "ok   $what"
  else FAILED=$((FAILED+1)); echo "FAIL $what"; tail -n 25 "$STATE/output" | sed 's/^/     | /'; return 1; fi
}
must() { check "$@" || finish; }
refused() { ! "$@"; }
# is TEXT COMMAND..., has TEXT COMMAND..., lacks TEXT COMMAND...: the command succeeds, and what it says is that, has that in it,
# or is something and has that nowhere
is() { local got; got=$("${@:2}") && [ "$got" = "$1" ] || { echo "expected $1, got $got"; false; }; }
has() { local text; text=$("${@:2}") && grep -qF -- "$1" <<<"$text" || { echo "no \"$1\" in: $text"; false; }; }
lacks() {
  local text; text=$("${@:2}") && [ -n "$text" ] || { echo "it failed, or said nothing: $text"; return 1; }
  ! grep -F -- "$1" <<<"$text"
}
# waits SECONDS COMMAND...
waits() { local n=$(( $1 * 5 )); shift; while [ $n -gt 0 ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; n=$((n-1)); done; "$@"; }
finish() { trap - EXIT; cleanup; echo "$PASSED passed, $FAILED failed"; [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]; exit; }
cleanup() {
  halt; umount "$ROOT" 2>/dev/null; umount "$STATE/layers" 2>/dev/null
  rm -rf --one-file-system "$STATE"
}
trap 'cleanup; echo "$PASSED passed, $((FAILED+1)) failed (interrupted)"; exit 1' EXIT
trap 'exit 143' TERM INT HUP

# The name of the tar file tells what is in it, so that a longer list makes a new one.
base() {
  BASE=$OUT/$(md5sum <<<"$INCLUDE" | cut -c1-12).tar
  [ -e "$BASE" ] && return
  mkdir -p "$OUT"; rm -rf "$OUT"/*.tar*
  mmdebstrap -q --format=tar --variant=minbase --include="$(tr -s ' \n' , <<<"$INCLUDE" | sed 's/,$//')" --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -f "$1/etc/resolv.conf"; echo gateway >"$1/etc/hostname"' bookworm "$BASE.new" && mv "$BASE.new" "$BASE"
}

# The container has the host's /proc/sys and /sys/module, which DPDK reads, as a machine has them.
boot() {
  if [ ! -e "$ROOT" ]; then
    mkdir -p "$STATE/layers" "$ROOT"; mount -t tmpfs -o size=2g tmpfs "$STATE/layers"
    mkdir "$STATE/layers"/{low,up,work}; tar -C "$STATE/layers/low" -xf "$BASE" || return
    mount -t overlay -o "lowerdir=$STATE/layers/low,upperdir=$STATE/layers/up,workdir=$STATE/layers/work" overlay "$ROOT" || return
  fi
  SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes systemd-nspawn -q --register=no --keep-unit -D "$ROOT" -M "swgw-$$" --boot --private-network \
    --bind-ro=/sys/module "$@" --console=pipe </dev/null >"$STATE/console" 2>&1 &
  NSPAWN=$!
  waits 10 leader && waits 30 inside systemctl is-system-running
}
# The container's PID 1; before it there is another child for a moment, in the PID namespace of the host.
leader() {
  for LEADER in $(ps --ppid "$NSPAWN" -o pid=); do
    awk '/^NSpid:/ { found = NF > 2 && $NF == 1 } END { exit !found }' "/proc/$LEADER/status" 2>/dev/null && return
  done
  LEADER=; false
}
inside() { nsenter -t "$LEADER" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }
# the certificate that the API shows there
certificate() { inside sh -c 'openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256'; }
halt() {
  [ -n "$LEADER" ] || return 0
  inside systemctl poweroff >/dev/null 2>&1
  for _ in $(seq 100); do kill -0 "$NSPAWN" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$LEADER" "$NSPAWN" 2>/dev/null; wait "$NSPAWN" 2>/dev/null; LEADER=
}
