#!/bin/bash
# Two RADIUS servers under load: one dies and comes back, forged replies, all are dead; and how fast one of them is asked
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa; many_sources
for i in $(seq 1200); do user "u$i" "pw$i" 'Framed-Pool = "big"'; echo "u$i pw$i" >>"$STATE/all"; done
export PPP_AUTH=pap POOLS=', named: { big: { ipv4: [10.100.128.0/17] } }'
started_is_stopped() { cat "$LOGS"/r[12].detail >"$LOGS/both.detail"; records both '{x["Acct-Session-Id"] for x in of("Start")} == {x["Acct-Session-Id"] for x in of("Stop")} and len(of("Start")) > 2900'; }

say "one server"
radius r1 "$R1"
SERVERS="{ name: r1, address: $R1, secret: $SECRET, timeout: 5s, tries: 5 }" MORE=$(aaa_config) gateway
head -n 500 "$STATE/all" >"$STATE/some"
logins speed "$STATE/some" 300; answers_are speed 500 0; leave speed
check "no request was sent twice" api check 'server("r1")["counters"]["retransmissions"] == 0'
kill -STOP "${PID[radius-r1]}"
logins many "$STATE/all" 1200
check "1,200 requests wait for one server, from more ports than one" api wait 'server("r1")["in_flight"] == 1200 and server("r1")["links"] >= 5 and radius["waiting"] == 1200' 20
kill -CONT "${PID[radius-r1]}"
answers_are many 1200 0; leave many
printf '%s\n' "u1 pw1" "u2 wrong" "u3 pw3" "u4 wrong" >"$STATE/four"
spawn forge "$AAA" /usr/bin/python3 "$INTEROP/radius.py" forge "$R1" "$SECRET" 6 3
sleep 0.5; kill -STOP "${PID[radius-r1]}"
logins forged "$STATE/four" 4; sleep 3
check "false Access-Accepts let nobody in" api check '[s["state"] for s in subs] == ["lcp"] * 4 and radius["waiting"] == 4'
kill -CONT "${PID[radius-r1]}"
answers_are forged 2 2
for reason in malformed unknown-id bad-authenticator no-message-authenticator bad-message-authenticator; do
  check "   counted: $reason" api check "sum(n for k, n in server('r1')['counters'].items() if '$reason' in k) >= 4"
done
leave forged; cat "$LOGS/forge.log"
check "all records are taken" api wait 'radius["records_pending"] == 0' 60
gateway_stop

say "two servers, and one dies under load"
radius r2 "$R2"
both=$(for n in 1 2; do eval "echo '{ name: r$n, address: '\$R$n', secret: $SECRET, timeout: 1s, tries: 2, dead_time: 10s },'"; done)
AAA_MORE="sources: [radius, local]" SERVERS=$both MORE=$(aaa_config) gateway
check "both are alive" api check 'server("r1")["alive"] and server("r2")["alive"]'
logins load "$STATE/all" 100 40
check "both are asked" api wait 'all(server(n)["counters"]["requests"] > 20 for n in ("r1", "r2"))' 20
radius_stop r1 KILL; say "r1 is killed"
check "REST shows it dead" api wait 'not server("r1")["alive"] and server("r2")["alive"]' 15
radius r1 "$R1"
check "Status-Server brings it back" api wait 'server("r1")["alive"] and server("r1")["counters"]["probes"] > 0' 15
radius_stop r2 KILL; say "r2 is killed"
check "now r2 is dead" api wait 'not server("r2")["alive"] and server("r1")["alive"]' 15
answers_are load 1200 0; leave load
check "records of accounting are not lost" api wait 'radius["records_pending"] == 0' 60

say "no server is left, and the embedded file is the fall-back"
radius_stop r1 KILL
printf '%s\n' "eve eavesdrop" "eve wrong" "u1 pw1" >"$STATE/three"
logins fallback "$STATE/three" 3
answers_are fallback 1 2
check "REST says who let her in" api check 'not user("eve")["radius"]'
check "records wait" api wait 'radius["records_pending"] >= 1'
leave fallback
radius r1 "$R1"; check "and are taken when a server is there" api wait 'radius["records_pending"] == 0' 30
check "every Start has its Stop" started_is_stopped
gateway_stop
finish
