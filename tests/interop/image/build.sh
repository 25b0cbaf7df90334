#!/bin/bash
# build.sh [forky] - builds a guest of the interop tests: a Debian kernel and a small root file system. Without an argument, of the
# host's Debian, with strongSwan, libreswan, xl2tpd, pppd, radvd, BIRD and FRR's bgpd; "forky" is that suite, with its newer kernel and
# strongSwan alone. Nothing is installed on the host and debootstrap is not needed: apt resolves and downloads against an EMPTY
# dpkg status, dpkg-deb unpacks, mke2fs -d makes the image.
# Result in ../out, or ../out/forky: vmlinux, initrd.cpio, root.img (read-only, shared by all guests: each has a tmpfs overlay).
# Built again when this folder changes.
set -eu
SUITE=${1:-}; HERE=$(cd "$(dirname "$0")" && pwd); OUT=$HERE/../out${SUITE:+/$SUITE}; CACHE=$OUT/cache
mkdir -p "$OUT" "$CACHE/archives/partial"
exec 9>"$OUT/lock"; flock 9
STAMP=$(cat "$HERE"/* | sha256sum | cut -d' ' -f1)
[ "$(cat "$OUT/stamp" 2>/dev/null)" != "$STAMP" ] || exit 0
T0=$(date +%s); echo "building the ${SUITE:+$SUITE }guest image (once; 20 s to a few minutes, as fast as the packages come)"
COMMON="busybox-static bash iproute2 iputils-ping kmod qemu-guest-agent procps strongswan-swanctl charon-systemd libstrongswan-standard-plugins"
PACKAGES="$COMMON linux-image-amd64 tcpdump socat libstrongswan-extra-plugins libcharon-extra-plugins libcharon-extauth-plugins
 xl2tpd ppp radvd wide-dhcpv6-client bird2 frr
 librte-ip-frag23 librte-mempool-ring23 librte-net-af-packet23 librte-net-ring23 librte-net-tap23"
BESIDE="libreswan"   # to dpkg a conflict with strongSwan, so it is resolved alone; on disk they do not meet
SOURCES=
if [ -n "$SUITE" ]; then
  PACKAGES="$COMMON linux-image-cloud-amd64" BESIDE=
  # from where the host's packages come, with lists of its own; the host's keyring has the keys
  mkdir -p "$CACHE/lists/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -1) $SUITE main" >"$CACHE/sources.list"
  SOURCES="-o Dir::Etc::sourcelist=$CACHE/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$CACHE/lists -o Dir::Cache=$CACHE -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Languages=none"
fi

# 1. download; $CACHE/archives stays between builds
: >"$CACHE/status"
APT="apt-get -q -y --no-install-recommends $SOURCES -o Dir::State::status=$CACHE/status -o Debug::NoLocking=1 -o APT::Sandbox::User=root"
get() { local set; for set in "$PACKAGES" ${BESIDE:+"$BESIDE"}; do $APT --download-only -o Dir::Cache::archives="$CACHE/archives" install $set || return; done >"$CACHE/apt.log" 2>&1; }
get || { apt-get $SOURCES -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300 update -qq; get; } || { tail "$CACHE/apt.log"; exit 1; }

# 2. unpack the packages of this closure on a merged /usr
R=$CACHE/root; rm -rf "$R"; mkdir -p "$R"/usr/{bin,sbin,lib,lib64}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$R/$d"; done
for set in "$PACKAGES" ${BESIDE:+"$BESIDE"}; do $APT --print-uris -o Dir::Cache::archives="$CACHE/none" install $set 2>/dev/null; done | awk '/^\x27/{print $2}' | sort -u >"$CACHE/list"
while read -r deb; do dpkg-deb --fsys-tarfile "$CACHE/archives/$deb" | tar -x --keep-directory-symlink -p -C "$R"; done <"$CACHE/list"
KV=$(basename "$(ls -d "$R"/lib/modules/*-amd64)")
VMLINUZ=$(ls "$R/boot/vmlinuz-$KV" "$R/lib/modules/$KV/vmlinuz" 2>/dev/null || true)
# QEMU enters an ELF kernel directly, so that TCG need not emulate the decompressor (8 s to ready become 4 s);
# the decompressors complain about what follows the stream, the data is whole
: >"$OUT/vmlinux"
for method in '\xfd7zXZ\x00 xz' '\x28\xb5\x2f\xfd zstd'; do
  off=$(LC_ALL=C grep -aobP "${method% *}" "$VMLINUZ" | head -1 | cut -d: -f1)
  [ -z "$off" ] || tail -c +$((off+1)) "$VMLINUZ" | ${method#* } -dc >"$OUT/vmlinux" 2>/dev/null || true
  [ "$(head -c 4 "$OUT/vmlinux" | tail -c 3)" != ELF ] || break
done
[ "$(head -c 4 "$OUT/vmlinux" | tail -c 3)" = ELF ] || cp "$VMLINUZ" "$OUT/vmlinux"

# 3. drop what no test needs, index the modules that stay
rm -rf "$R"/boot "$R"/usr/share/{doc,man,locale,info,lintian,bash-completion,zoneinfo,perl,perl5,mime,i18n} \
  "$R"/usr/lib/x86_64-linux-gnu/perl* "$R"/usr/lib/systemd "$R"/usr/lib/udev
[ ! -e "$R/usr/lib/frr" ] || find "$R/usr/lib/frr" -type f ! -name bgpd -delete
find "$R/lib/modules" -name '*.ko.xz' -exec xz -d {} +
M=$R/lib/modules/$KV/kernel; rm -rf "$M/sound"
( cd "$M/drivers"; for d in *; do case $d in virtio|block|char|net|crypto) ;; *) rm -rf "$d";; esac; done
  cd net; for d in *; do case $d in *.ko|ppp|slip|vxlan) ;; *) rm -rf "$d";; esac; done )
( cd "$M/fs"; for d in *; do case $d in 9p|ext4|jbd2|mbcache*|overlayfs|fscache|netfs|nls) ;; *) rm -rf "$d";; esac; done )
depmod -b "$R" "$KV" 2>/dev/null

# 4. the few files that maintainer scripts would have made
rm -rf "$R/var/run"; mkdir -p "$R"/{proc,sys,dev,run,tmp,t,root,mnt,var/log,var/lib,etc/ppp,etc/xl2tpd}; ln -s /run "$R/var/run"
for a in $("$R/bin/busybox" --list); do [ -e "$R/bin/$a" ] || [ -e "$R/sbin/$a" ] || ln -s /bin/busybox "$R/bin/$a"; done
ln -sf bash "$R/bin/sh"
printf '%s\n' root:x:0:0:root:/root:/bin/bash nobody:x:65534:65534::/:/bin/false radvd:x:111:65534::/:/bin/false tcpdump:x:112:112::/:/bin/false frr:x:113:113::/:/bin/false >"$R/etc/passwd"
printf '%s\n' root:x:0: nogroup:x:65534: dip:x:30: tcpdump:x:112: frr:x:113: frrvty:x:114:frr >"$R/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$R/etc/nsswitch.conf"
[ ! -e "$R/etc/frr" ] || echo 'username root nopassword' >"$R/etc/frr/vtysh.conf"   # no PAM here
printf '127.0.0.1 localhost\n::1 localhost\n' >"$R/etc/hosts"
printf 'icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nesp 50 ESP\nipv6-icmp 58 IPv6-ICMP\n' >"$R/etc/protocols"
ldconfig -r "$R" 2>/dev/null || true
install -m755 "$HERE/init" "$R/init"

# 5. the root image and the small first stage
rm -f "$OUT/root.img"
mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -d "$R" "$OUT/root.img" $(( $(du -sm "$R" | cut -f1) * 115 / 100 + 24 ))M >/dev/null
I=$CACHE/initrd; rm -rf "$I"; mkdir -p "$I"/{bin,dev,proc,sys,mnt/lower,mnt/tmp,newroot,m}; cp "$R/bin/busybox" "$I/bin/"
find "$M" -name crc32c_generic.ko -exec cp {} "$I/m/" \; -exec basename {} \; >"$I/m/order"   # ext4 asks for it by name
for m in virtio_pci virtio_blk ext4 overlay; do
  modprobe -d "$R" -S "$KV" --show-depends "$m" 2>/dev/null | awk '/^insmod/{print $2}' | while read -r f; do
    b=$(basename "$f"); [ -e "$I/m/$b" ] || { cp "$f" "$I/m/$b"; echo "$b" >>"$I/m/order"; }; done
done
install -m755 "$HERE/initrd-init" "$I/init"
( cd "$I" && find . | cpio -o -H newc --quiet ) >"$OUT/initrd.cpio"
rm -rf "$R" "$I"; echo "$STAMP" >"$OUT/stamp"
echo "${SUITE:+$SUITE }guest image: kernel $KV, $(du -m --apparent-size "$OUT/root.img" | cut -f1) MB, $(( $(date +%s) - T0 )) s"
