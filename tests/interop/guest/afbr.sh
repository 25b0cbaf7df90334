#!/bin/bash
# afbr.sh (in a guest) - Linux as an AFBR: ip6_tunnel or sit by the kernel, an island behind it, a web server in it.
# usage: afbr.sh up OUTER-LOCAL OUTER-REMOTE ISLAND-ADDRESS/LEN FAR-PREFIX
#        afbr.sh bird AS ROUTER-ID LOCAL NEIGHBOUR IPV4-PREFIX     BIRD speaks iBGP and originates the prefix
set -eu
case $1 in
up)
  case $2 in
    *:*) modprobe ip6_tunnel; ip -6 tunnel add sw0 mode ipip6 local "$2" remote "$3" encaplimit none ttl 64;;
    *) modprobe sit; ip tunnel add sw0 mode sit local "$2" remote "$3" ttl 64;;
  esac
  ip link add island type dummy 2>/dev/null || { modprobe dummy; ip link show island >/dev/null 2>&1 || ip link add island type dummy; }
  ip link set island up; ip link set sw0 up
  case $4 in *:*) ip addr add "$4" dev island nodad; ip -6 route add "$5" dev sw0 src "${4%/*}";; *) ip addr add "$4" dev island; ip route add "$5" dev sw0 src "${4%/*}";; esac;;
bird)
  cat >/tmp/bird.conf <<X
log "/tmp/bird.log" all;
router id $3;
protocol device {}
protocol static { ipv4; route $6 blackhole; }
protocol bgp afbr {
  local $4 as $2; neighbor $5 as $2; hold time 9; connect retry time 3; error wait time 2, 5; multihop;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop; next hop self; };
}
X
  bird -c /tmp/bird.conf -s /tmp/bird.ctl;;
*) sed -n 2,4p "$0"; exit 2;;
esac
