#!/bin/bash
# apt.sh [build] [lab] [view] [bench] [floors] [count] [package] - installs the Debian 12 packages that are missing; without arguments, the first two sets.
#   build   what cargo needs: DPDK and IPsec-MB with headers, clang for bindgen
#   lab     what the demo and the interop tests need: QEMU, network tools
#   view    a browser for the tests of the live view
#   bench   the BGP speakers that ours is compared with
#   floors  DPDK's own programs, which a worker is compared with
#   count   callgrind
#   package what the Debian package and the Ansible collection are tested with
# When all are there, apt is not called at all. Services of new packages are not started.
set -eu
BUILD="build-essential clang dpdk libclang-dev libdpdk-dev libipsec-mb-dev pkg-config"
LAB="busybox-static ca-certificates cpio curl e2fsprogs ethtool freeradius freeradius-utils frr iperf3 iproute2 iputils-ping kea-dhcp6-server kmod nftables openssl procps python3 python3-venv qemu-system-x86 stayrtr tcpdump tshark util-linux xz-utils zstd"
VIEW="chromium fonts-dejavu-core python3 python3-venv"
BENCH="bird2 curl ethtool frr iproute2 procps python3"
FLOORS="dpdk-dev"
COUNT="valgrind"
PACKAGE="binutils ethtool lintian mmdebstrap prometheus python3 python3-venv systemd-container"
want=
for set in "${@:-build lab}"; do for word in $set; do
  case $word in build) want="$want $BUILD";; lab) want="$want $LAB";; view) want="$want $VIEW";; bench) want="$want $BENCH";; floors) want="$want $FLOORS";; count) want="$want $COUNT";; package) want="$want $PACKAGE";; *) sed -n 2,10p "$0"; exit 2;; esac
done; done

missing=
for p in $want; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
[ "$(id -u)" = 0 ] || { echo "not root: run  sudo apt-get install$missing" >&2; exit 1; }

# a policy-rc.d that answers 101 keeps services from starting; ours goes when we are done
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null; }
# the package lists may be old or absent: refresh them only when the first try fails, or when it is for a browser: that of old
# lists is one whose faults the tests would find
case $missing in *chromium*) apt-get -o DPkg::Lock::Timeout=300 update -qq || true;; esac
install 2>/dev/null || { apt-get -o DPkg::Lock::Timeout=300 update -qq && install; }
