#!/bin/bash
# Roaming: the visited AAA proxies to the home AAA by realm; one that meddles is caught; a subscriber who comes back from elsewhere
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa; customer 192.0.2.20/24,192.0.2.21/24
user bob builder; radius visited_local "$R6" # (a server of its own: it alone knows bob)
user hugo@home.example.net hugospassword "Framed-IP-Address = 10.100.2.99" "Class = 0x6875676f"
radius home "$R2"
: >"$STATE/users"; HOME_SERVER=$R2:1822 radius visited "$R1"
meddler honest 1822 "$R2:1812" none
boot hugo "$ACC" br0:192.0.2.2/24
export PEERS='- { name: roam, id: "*@home.example.net", auth: eap, ppp: skip }' POOLS=', named: { visited: { ipv4: [10.100.77.0/24] } }'
SERVERS="{ name: visited, address: $R1, secret: $SECRET, timeout: 4s }" MORE=$(aaa_config) gateway; ready hugo

say "case 3 of RFC 4925's figure: a visited concentrator, AAAv and AAAh"
check "IKE SA by EAP-TTLS with the home server" eap hugo gw ttls hugo@home.example.net hugospassword || finish
check "it was asked through the visited one: Proxy-State" asked home '"Proxy-State" in r[-1] and r[-1]["User-Name"] == "hugo@home.example.net" and r[-1]["NAS-Identifier"] == "gw.example.net"'
USERVARS="USERN=nobody" ppp_up hugo
check "the address is from the visited pool, not the home server's word" api check 'user("hugo@home.example.net")["ipv4"].startswith("10.100.77.")'
check "Class of the home server comes back in accounting" records visited 'of("Start")[-1]["Class"] == "0x6875676f" and of("Start")[-1]["Framed-IP-Address"].startswith("10.100.77.")' 3
traffic hugo
g hugo '/t/l2tp.sh stop'; eap_end hugo; halt honest

say "an AAAv that alters the tunnelled EAP (H11)"
meddler bad 1822 "$R2:1812" tunnel
check "no IKE SA comes of it" refused eap hugo gw ttls hugo@home.example.net hugospassword
check "because the home server found the tunnel altered" eval 'grep -q "tunnel is flipped" "$LOGS/bad.log" && grep -qiE "bad record mac|decryption failed|Login incorrect" "$LOGS/home.log"'
check "the gateway has nothing of it" api wait 'not ike and not subs' 10
check "and has logged the reject" logged softwired 'reject.*hugo@home.example.net'
eap_end hugo; halt bad
EAPVARS="LID=hugo@home.example.net" check "a realm that is nobody's" refused eap hugo gw ttls hugo@nowhere.example.net hugospassword
check "   is refused by the visited server itself" logged softwired 'rejected by visited.*user="hugo@nowhere.example.net"'
eap_end hugo
gateway_stop

say "cases 1 and 2: home concentrator; the subscriber moves, and what he had is his again (H3)"
SERVERS="{ name: own, address: \"$R6\", secret: $SECRET }" MORE=$(aaa_config) gateway
from() { ip -n "$CUST" addr flush dev e0; address "$CUST" e0 "$1/24"; }
# the delegated prefix comes last
what() { api wait 'user("bob")["delegated"]' >/dev/null; api value 'user("bob")["ipv4"], user("bob")["ipv6_prefix"], user("bob")["delegated"]'; }
from 192.0.2.20; bob || finish
had=$(what); check "he leaves" halted bob; api wait 'not subs' >/dev/null
from 192.0.2.21; bob
check "from another network he has the same addresses: $had" [ "$(what)" = "$had" ]
check "outside it is another" api check 'user("bob")["outer"].startswith("192.0.2.21:")'
halt bob KILL; ip -n "$CUST" link del bob 2>/dev/null; say "he vanishes without a word"
from 192.0.2.20; bob
check "the session he left is cleared at once" api check 'len(subs) == 1 and len(ike) == 1 and user("bob")["outer"].startswith("192.0.2.20:")'
check "and he has his addresses" [ "$(what)" = "$had" ]
check "ping" in_ns "$CUST" ping -c3 -i0.2 -W2 "$WEB6"
gateway_stop
check "each of the three was accounted" records visited_local 'len(of("Start")) == 3 == len(of("Stop"))'
finish
