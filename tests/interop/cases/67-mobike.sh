#!/bin/bash
# A client whose outer address changes (MOBIKE, strongSwan): session, inner addresses and accounting go on (H4)
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa
user alice wonderland; user bob builder
radius r1 "$R1"
boot alice "$ACC" br0:192.0.2.2/24
MORE=$(aaa_config) gateway; bystander; ready alice
IKEVARS="MOBIKE=yes" ike_up alice %any $GW4 || finish
# xl2tpd's socket is of one address for good: it speaks to a relay, which can be started again with another one
g alice "/t/l2tp.sh relay4 $GW4 192.0.2.2"
USERVARS="LPORT=1702" ppp_up alice 127.0.0.9 || finish
traffic alice
is() { api value '(lambda s: [s[k] for k in ("id", "acct_session_id", "ipv4", "ipv6_prefix")])(user("alice"))'; }
before=$(is); spis=$(api value 'sorted(c["spi_in"] for c in child)')
check "it comes from 192.0.2.2" api check 'user("alice")["outer"].startswith("192.0.2.2:")'
move() { # FROM TO
  say "from $1 to $2"
  g alice "sysctl -qw net.ipv4.conf.all.promote_secondaries=1; ip addr add $2/24 dev eth0; ip addr del $1/24 dev eth0; /t/l2tp.sh relay4 $GW4 $2"
  check "the IKE SA has moved" api wait "any(s['remote'].startswith('$2:') and s['remote_id'] == 'alice@example.net' for s in ike)" 15
  check "and the subscriber with it" api wait "user('alice')['outer'].startswith('$2:')" 5
  check "ping over IPv6" g alice "ping -c5 -i0.2 -W3 $WEB6"
  check "ping over IPv4, with the address it had" g alice "ping -c5 -i0.2 -W3 $WEB4"
  check "the network reaches the subscriber" in_ns "$CORE" ping -c3 -i0.2 -W3 "$(api value 'user("alice")["ipv4"]')"
  check "it is the same session" [ "$(is)" = "$before" ]
  check "in the same SAs" [ "$(api value 'sorted(c["spi_in"] for c in child)')" = "$spis" ]
}
move 192.0.2.2 192.0.2.3
move 192.0.2.3 192.0.2.77
download alice "$WEB6" IPv6
check "charon did it by MOBIKE" charon_says alice "UPD_SA_ADDR|N\(UPD_SA"
check "accounting goes on: one Start, no Stop" records r1 'len([x for x in of("Start") if x["User-Name"] == "alice"]) == 1 and not of("Stop")'
undisturbed
check "client hangs up" g alice '/t/l2tp.sh hangup; /t/l2tp.sh down'
check "one Stop has all of it" records r1 'len(of("Stop")) == 1 and of("Stop")[0]["User-Name"] == "alice" and of("Stop")[0]["Softwire-Output-Octets-IPv6"] > 4000000' 5
gateway_stop
finish
