#!/bin/bash
# v6.sh (in a guest) - IPv6 on the PPP link.
# usage: v6.sh slaac [IF]   waits for a global address by router advertisement; sends the core's IPv4 network through IF
#        v6.sh pd [IF]      asks for a delegated prefix by DHCPv6 and puts it on lan0
#        v6.sh serve [IF]   (as reference peer) router advertisements with 2001:db8:100::/64
set -eu
I=${2:-ppp0}
case $1 in
slaac)
  for _ in $(seq 150); do
    if ip -6 addr show "$I" scope global | grep -q inet6; then
      ip -4 route replace 198.51.100.0/24 dev "$I" 2>/dev/null || true
      ip -6 -br addr show "$I"; ip -6 route show default; exit 0
    fi; sleep 0.1; done
  ip -6 addr show "$I"; exit 1;;
pd)
  modprobe dummy; ip link add lan0 type dummy 2>/dev/null || true; ip link set lan0 up; mkdir -p /var/lib/dhcpv6
  printf '%s\n' "interface $I { send ia-pd 1; request domain-name-servers; };" "id-assoc pd 1 { prefix-interface lan0 { sla-id 0; sla-len 8; ifid 1; }; };" >/tmp/dhcp6c.conf
  dhcp6c -c /tmp/dhcp6c.conf -D -f -p /run/dhcp6c.pid "$I" >/tmp/dhcp6c.log 2>&1 &
  for _ in $(seq 150); do ip -6 addr show lan0 scope global | grep -q inet6 && { ip -6 -br addr show lan0; exit 0; }; sleep 0.1; done
  tail -n 20 /tmp/dhcp6c.log; exit 1;;
serve)
  sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1
  for _ in $(seq 100); do ip -6 addr show "$I" scope link 2>/dev/null | grep -q fe80 && break; sleep 0.1; done
  ip -6 route replace 2001:db8:100::/64 dev "$I"
  printf '%s\n' "interface $I { AdvSendAdvert on; UnicastOnly off; MaxRtrAdvInterval 4; MinRtrAdvInterval 3; prefix 2001:db8:100::/64 { AdvOnLink off; }; };" >/tmp/radvd.conf
  setsid radvd -n -C /tmp/radvd.conf -p /run/radvd.pid -m stderr </dev/null >/tmp/radvd.log 2>&1 & ;;
*) sed -n 2,5p "$0"; exit 2;;
esac
