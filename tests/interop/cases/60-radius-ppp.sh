#!/bin/bash
# Linux client against RADIUS: PAP, CHAP, MS-CHAPv2, EAP; what an Access-Accept gives, and what it gives that cannot be had
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa
user alice wonderland "Framed-IP-Address = 10.100.2.50" "Framed-IPv6-Prefix = 2001:db8:100:a11c::/64" "Delegated-IPv6-Prefix = 2001:db8:fa11:ce00::/56" \
  "Framed-Interface-Id = 0:0:0:50" 'Framed-Route = "10.100.200.0/24 0.0.0.0 1"' 'Framed-IPv6-Route = "2001:db8:1aa::/48 :: 1"' \
  "MS-Primary-DNS-Server = 198.51.100.53" "DNS-Server-IPv6-Address = 2001:db8:c::53" "Framed-MTU = 1380" "Session-Timeout = 3600" "Class = 0x616c696365"
user pooled swimming 'Framed-Pool = "main"' 'Framed-IPv6-Pool = "main"' 'Delegated-IPv6-Prefix-Pool = "main"'
user bob builder "Framed-IP-Address = 10.100.1.2" "Framed-IPv6-Prefix = 2001:db8:100:b0b::/64"
user nopool secret 'Framed-Pool = "nowhere"'
user thief secret "Framed-IPv6-Prefix = 2001:db8:100:b0b::/64"
user nofilter secret 'Filter-Id = "no-such-list"'
user tiny secret "Framed-MTU = 20"
radius r1 "$R1"
meddler honest 1822 "$R1:1812" none
boot alice "$ACC" br0:192.0.2.2/24
SERVERS="{ name: r1, address: $R1, secret: $SECRET, auth_port: 1822, timeout: 3s }" PPP_AUTH="mschapv2, chap, pap, eap" MORE=$(aaa_config) \
  POOLS=', named: { main: { ipv4: [10.100.101.0/24], ipv6: ["2001:db8:101::/48"], delegated: ["2001:db8:f100::/40"] } }' gateway
bystander; ready alice
ike_up alice 192.0.2.2 $GW4 || finish

ALL="pap chap mschap mschap-v2 eap"
# only METHOD: pppd's options
only() { local m; for m in $ALL; do [ "$m" = "$1" ] || echo -n "refuse-$m "; done; }
hang_up() { g alice '/t/l2tp.sh stop'; api wait "not user('$1')" >/dev/null; }
denied() { # USER PASSWORD OPTIONS: pppd is turned away
  g alice "USERN=$1 PASSW=$2 OPTS='${3:-}' /t/l2tp.sh lac $GW4
    for i in \$(seq 150); do grep -qE 'authentication failed|terminated by peer|EAP Failure' /tmp/l2/pppd.log 2>/dev/null && break; sleep 0.1; done
    sed -n '/rcvd/p' /tmp/l2/pppd.log | tail -n 5; [ \$i != 150 ] && ! ip -6 addr show ppp0 2>/dev/null | grep -q fe80"
  local status=$?; g alice '/t/l2tp.sh stop'; return $status
}
method() { # METHOD ATTRIBUTE: a login, and one with a wrong password; RADIUS was asked with that attribute
  USERVARS="USERN=pooled PASSW=swimming OPTS='$(only "$1")'" ppp_up alice || { g alice '/t/l2tp.sh stop'; return; }
  check "RADIUS was asked by $2" asked r1 "'$2' in r[-1] and r[-1]['User-Name'] == 'pooled'"
  [ "$1" != mschap-v2 ] || check "pppd has checked the server's response, too" g alice 'grep -q "rcvd.*CHAP Success.*S=" /tmp/l2/pppd.log && grep -q "CHAP authentication succeeded" /tmp/l2/pppd.log'
  check "addresses are of the pool that RADIUS names" api check 'user("pooled")["ipv4"].startswith("10.100.101.") and user("pooled")["ipv6_prefix"].startswith("2001:db8:101:")'
  hang_up pooled
  check "a wrong password is refused ($1)" denied pooled drowning "$(only "$1")"
}
method pap User-Password; method chap CHAP-Password; method mschap-v2 MS-CHAP2-Response; method eap EAP-Message
halt honest; meddler rogue 1822 "$R1:1812" mschap
check "pppd refuses a server whose MS-CHAPv2 response is wrong (H32)" denied pooled swimming "$(only mschap-v2)"
check "   for it was that, and nothing else" grep -q "Accept is flipped" "$LOGS/rogue.log"
halt rogue; meddler honest 1822 "$R1:1812" none
check "rejects are in the audit log" eval '[ "$(logged softwired -cE "verb=\"?reject\"?.*rejected by r1")" -ge 4 ]'

say "what an Accept gives"
USERVARS="USERN=alice OPTS=usepeerdns" ppp_up alice || finish
check "Framed-IP-Address" g alice "ip -4 addr show ppp0 | grep -q 'inet 10.100.2.50 '"
check "Framed-Interface-Id" g alice "ip -6 addr show ppp0 scope link | grep -q 'fe80::50[/ ]'"
check "DNS server by IPCP" g alice "grep -q '198.51.100.53' /tmp/l2/pppd.log"
traffic alice
check "Framed-IPv6-Prefix" g alice "ip -6 addr show ppp0 scope global | grep -q 2001:db8:100:a11c:"
check "Framed-MTU, told by the router advertisement" g alice '[ "$(cat /proc/sys/net/ipv6/conf/ppp0/mtu)" = 1380 ]'
check "Delegated-IPv6-Prefix by DHCPv6" g alice '/t/v6.sh pd && ip -6 addr show lan0 | grep -q 2001:db8:fa11:ce00:'
check "DNS-Server-IPv6-Address by DHCPv6" g alice "grep -q 'nameserver.* 2001:db8:c::53' /tmp/dhcp6c.log"
check "ping from the delegated prefix" g alice "ping -c3 -i0.2 -W3 -I \$(ip -6 -br addr show lan0 scope global | awk '{sub(\"/.*\",\"\",\$3); print \$3}') $WEB6"
g alice 'ip addr add 10.100.200.1/32 dev lo; ip -6 addr add 2001:db8:1aa::1/128 dev lo'
check "Framed-Route: the network behind is reached" in_ns "$CORE" ping -c3 -i0.2 -W3 10.100.200.1
check "Framed-IPv6-Route likewise" in_ns "$CORE" ping -c3 -i0.2 -W3 2001:db8:1aa::1
check "REST shows it" api check 'user("alice")["radius"] and sorted(user("alice")["routes"]) == ["10.100.200.0/24", "2001:db8:1aa::/48"] and user("alice")["mtu"] == 1380'
check "Session-Timeout" lasts alice 3600
check "the request says who asks, and for whom" asked r1 'r[-1]["NAS-IP-Address"] == "10.9.0.1" and r[-1]["NAS-Identifier"] == "gw.example.net" and r[-1]["Calling-Station-Id"] == "192.0.2.2" and r[-1]["Softwire-IKE-Identity"] == "alice@example.net"'
check "Class comes back in accounting" records r1 'of("Start")[-1]["Class"] == "0x616c696365" and of("Start")[-1]["User-Name"] == "alice"' 3
hang_up alice

say "what cannot be had is refused, and the log names the attribute"
unhonoured() { check "$1: no session of $2" denied "$2" secret; check "   and why is in the log" logged softwired -E "$2.*$1|$1.*$2"; }
unhonoured Framed-Pool nopool; unhonoured Framed-IPv6-Prefix thief; unhonoured Filter-Id nofilter; unhonoured Framed-MTU tiny
undisturbed
check "every session was accounted" records r1 'len(of("Start")) == 6 and len(of("Stop")) == 5' 3
gateway_stop
finish
