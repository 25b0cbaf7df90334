#!/bin/bash
# afbr.sh (in a guest) - Linux as an AFBR: ip6_tunnel or sit by the kernel, an island behind it, BIRD or FRR for its routes.
# usage: afbr.sh up OUTER-LOCAL OUTER-REMOTE ISLAND-ADDRESS/LEN FAR-PREFIX
#        afbr.sh bird|frr start AS ROUTER-ID LOCAL NEIGHBOUR IPV4-PREFIX     speaks iBGP and originates the prefix
#        afbr.sh bird|frr withdraw|announce AS IPV4-PREFIX                   no longer, and again
#        afbr.sh bird|frr show PREFIX | stop                                 what it knows of a prefix
set -eu
birdc() { command birdc -s /tmp/bird.ctl "$@"; }
frr() { local c args=(); for c in "$@"; do args+=(-c "$c"); done; vtysh --vty_socket /tmp/frr "${args[@]}"; }
case "$1 $2" in
"up "*)
  case $2 in
    *:*) modprobe ip6_tunnel; ip -6 tunnel add sw0 mode ipip6 local "$2" remote "$3" encaplimit none ttl 64;;
    *) modprobe sit; ip tunnel add sw0 mode sit local "$2" remote "$3" ttl 64;;
  esac
  ip link add island type dummy 2>/dev/null || { modprobe dummy; ip link show island >/dev/null 2>&1 || ip link add island type dummy; }
  ip link set island up; ip link set sw0 up
  case $4 in *:*) ip addr add "$4" dev island nodad; ip -6 route add "$5" dev sw0 src "${4%/*}";; *) ip addr add "$4" dev island; ip route add "$5" dev sw0 src "${4%/*}";; esac;;
"bird start")
  cat >/tmp/bird.conf <<X
log "/tmp/bird.log" all;
router id $4;
protocol device {}
protocol static { ipv4; route $7 blackhole; }
protocol bgp afbr {
  local $5 as $3; neighbor $6 as $3; hold time 9; connect retry time 3; error wait time 2, 5; multihop;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop; next hop self; };
}
X
  bird -c /tmp/bird.conf -s /tmp/bird.ctl;;
"bird withdraw") birdc disable static1;;
"bird announce") birdc enable static1;;
"bird show") birdc show route all "$3";;
"bird stop") birdc down;;
"frr start")
  mkdir -p /tmp/frr
  cat >/tmp/frr/bgpd.conf <<X
log file /tmp/frr/log
router bgp $3
 bgp router-id $4
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor $6 remote-as $3
 neighbor $6 update-source $5
 neighbor $6 capability extended-nexthop
 neighbor $6 timers 3 9
 neighbor $6 timers connect 3
 address-family ipv4 unicast
  network $7
  neighbor $6 activate
 exit-address-family
X
  chown -R frr /tmp/frr; /usr/lib/frr/bgpd -d -Z -f /tmp/frr/bgpd.conf -i /tmp/frr/pid --vty_socket /tmp/frr -A 127.0.0.1;;
"frr withdraw") frr "configure terminal" "router bgp $3" "address-family ipv4 unicast" "no network $4";;
"frr announce") frr "configure terminal" "router bgp $3" "address-family ipv4 unicast" "network $4";;
"frr show") frr "show bgp ipv4 unicast $3";;
"frr stop") kill "$(cat /tmp/frr/pid)";;
*) sed -n 2,6p "$0"; exit 2;;
esac
