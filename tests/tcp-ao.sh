#!/bin/bash
# tcp-ao.sh - TCP-AO on a kernel that has it: tests of tcp-options and of the control plane's BGP driver, on the loopback
# interface of a guest. Neither Debian 12's kernel nor that of its backports has CONFIG_TCP_AO; Debian sid's has, so its
# newest cloud kernel is fetched, and booted in QEMU (emulated, no KVM) with the test binaries as its initramfs.
# Not part of `make test`, which must not depend on an unstable suite. Half a minute to a few; needs the network.
set -eu
cd "$(dirname "$0")/.."
MIRROR=${MIRROR:-https://deb.debian.org/debian} SECONDS_MAX=${SECONDS_MAX:-400}
mkdir -p tests/interop/work; WORK=$(mktemp -d "$PWD/tests/interop/work/tcp-ao.XXXXXX")
trap 'rm -rf "$WORK"' EXIT; trap 'exit 143' TERM INT HUP
fail() { echo "FAIL $*" >&2; exit 1; }

# the test binaries, with their AO tests
cargo test --workspace --no-run --features tcp-options/tcp-ao-kernel,controlplane/tcp-ao-kernel 2>&1 | tee "$WORK/cargo.log"
binary() { sed -n "s|^ *Executable $1 (\(.*\))\$|\1|p" "$WORK/cargo.log"; }

# the kernel: linux-image-cloud-amd64 names the newest version, linux-binary-* or (before 7.0) linux-image-* has it
curl -sSf "$MIRROR/dists/sid/main/binary-amd64/Packages.xz" | xz -dc >"$WORK/Packages"
field() { awk -v RS= -v p="Package: $1\n" 'index($0, p) == 1' "$WORK/Packages" | sed -n "s/^$2: //p"; }
IMAGE=$(field linux-image-cloud-amd64 Depends | grep -oE 'linux-image-[0-9][^ ,]*') || fail "sid has no cloud kernel"
DEB=$(field "${IMAGE/-image-/-binary-}" Filename); [ -n "$DEB" ] || DEB=$(field "$IMAGE" Filename)
SUM=$(field "${IMAGE/-image-/-binary-}" SHA256); [ -n "$SUM" ] || SUM=$(field "$IMAGE" SHA256)
echo "kernel: $DEB"
curl -sSf -o "$WORK/deb" "$MIRROR/$DEB"; echo "$SUM  $WORK/deb" | sha256sum -c --quiet
dpkg-deb -x "$WORK/deb" "$WORK/kernel"
KERNEL=$(find "$WORK/kernel" -name 'vmlinuz*' ! -name '*.unsigned' | head -1); [ -n "$KERNEL" ] || fail "no vmlinuz in it"

# the initramfs: busybox, the binaries, the libraries they are linked with
R=$WORK/root; mkdir -p "$R"/{bin,dev,proc,sys,tmp,t}; cp /bin/busybox "$R/bin/"
add() { [ -x "$2" ] || fail "no test binary $1"; strip -o "$R/t/$1" "$2"
  ldd "$2" | grep -oE '/[^ ]+' | while read -r l; do mkdir -p "$R/$(dirname "$l")"; cp -L "$l" "$R/$l"; done; }
add loopback "$(binary tests/loopback.rs)"
add ao "$(binary tests/ao.rs)"
add driver "$(binary 'unittests src/lib.rs' | grep '/controlplane-')"
cat >"$R/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev; $b mount -t tmpfs t /tmp
$b ip link set lo up
for a in 192.0.2.1/32 192.0.2.2/32 2001:db8::1/128 2001:db8::2/128; do $b ip addr add $a dev lo; done
echo "guest: Linux $($b uname -r)"
run() { echo "guest: $*"; "$@" --test-threads=1 >/tmp/out 2>&1; s=$?; $b cat /tmp/out
  [ $s = 0 ] && $b grep -qE '^test result: ok\. [1-9][0-9]* passed; 0 failed; 0 ignored' /tmp/out && passed=$((passed+1)); }
passed=0
run /t/loopback; run /t/ao; run /t/driver driver::
[ $passed = 3 ] && echo "guest: all passed"
$b reboot -f
INIT
chmod 755 "$R/init"
(cd "$R" && find . | cpio -o -H newc --quiet | gzip -1) >"$WORK/initrd"

# as the guests of tests/interop are started: the guest is told the TSC's frequency
KHZ=$(awk '/^bogomips/{printf "%d",$3*500; exit}' /proc/cpuinfo)
timeout "$SECONDS_MAX" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=128 -cpu max -M pc -m 512 -smp 1 \
  -nodefaults -display none -vga none -no-reboot -serial stdio -kernel "$KERNEL" -initrd "$WORK/initrd" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable tsc_early_khz=$KHZ random.trust_cpu=on" \
  </dev/null | tr -d '\r' | tee "$WORK/console"
grep -qx "guest: all passed" "$WORK/console" || fail "the guest did not say that all passed"
echo "TCP-AO: all passed"
