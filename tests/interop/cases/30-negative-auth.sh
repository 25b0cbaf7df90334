#!/bin/bash
# Refused: a wrong PSK, a wrong CHAP secret, another's PPP name; each counted, nobody disturbed
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
layout
boot alice "$ACC" br0:192.0.2.2/24
gateway; bystander; ready alice
try() { g alice "/t/ike.sh start && $1 RID=gw.example.net L=192.0.2.2 R=$GW4 /t/ike.sh add gw && T=8 /t/ike.sh up gw"; }
again() { g alice '/t/ike.sh down gw >/dev/null 2>&1; /t/ike.sh stop; sleep 1; rm -rf /tmp/sw'; }
check "a wrong PSK is refused" refused try "PSK=wrong LID=alice@example.net"
check "it is refused by the gateway's answer" g alice 'grep -q AUTHENTICATION_FAILED /tmp/sw/charon.log'; again
check "an unknown identity is refused" refused try "PSK=$PSK_ALICE LID=nobody@example.net"; again
check "another's identity is refused" refused try "PSK=$PSK_ALICE LID=eve@example.net"; again
check "three failures are counted" api check 'c["ike.auth_failed"] == 3'
check "and nothing is left" api wait 'len(ike) == 1 and len(child) == 1 and len(subs) == 1'
check "the right PSK is accepted" try "PSK=$PSK_ALICE LID=alice@example.net" || finish
chap() { # description, variables, counter's reason is in the audit log
  g alice "$2 /t/l2tp.sh lac $GW4"
  check "$1" g alice 'for i in $(seq 150); do grep -qE "CHAP authentication failed|LCP terminated by peer" /tmp/l2/pppd.log 2>/dev/null && exit 0; sleep 0.1; done; tail /tmp/l2/*.log; exit 1'
  g alice /t/l2tp.sh stop; }
chap "a wrong CHAP secret is refused" "PASSW=wrong"
chap "an unknown user is refused" "USERN=mallory"
chap "bob's name with alice's secret is refused" "USERN=bob PASSW=wonderland"
check "no session came of it" api wait 'len(subs) == 1 and st["open_sessions"] == 1'
check "rejects are counted" api check 'sum(n for k, n in c.items() if "auth" in k and k.startswith(("ppp.", "aaa."))) >= 3'
check "the audit log has them" eval '[ "$(grep -c "reject" "$LOGS/softwired.log")" -ge 3 ]'
ppp_up alice
undisturbed
gateway_stop
finish
