#!/bin/bash
# ESP in UDP over IPv6 with the kernel's own ESP: a strongSwan client that forces encapsulation; IPv4 inside
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:2001:db8:a::2/64
gateway; ready alice
VARS="ENCAP=yes PSK=$PSK_ALICE LID=alice@example.net" ike_up alice 2001:db8:a::2 $GW6 || finish
g alice "/t/l2tp.sh relay6 $GW6 2001:db8:a::2"
USERVARS="LPORT=1702" ppp_up alice 127.0.0.9 || finish
traffic alice
gw_check "REST shows NAT traversal over IPv6" api check 'any(sa["natt"] and sa["remote"].startswith("[") for sa in ike)'
gateway_stop
finish
