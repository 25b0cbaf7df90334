#!/bin/bash
# Accounting: records against the data plane's own counters, a server that is away, kill -9, an orderly end; nothing lost or twice. Addresses are the same after kill -9
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
C2=$PFX-c2
layout; layout_aaa; customer
netns "$C2"; veth "$C2" e0 "$ACC" cust1; port "$ACC" br0 cust1; address "$C2" e0 192.0.2.21/24
user bob builder "Framed-IP-Address = 10.100.1.2" "Class = 0x626f62" "Acct-Interim-Interval = 60"
user carol christmas
user brief secret "Session-Timeout = 8"
user quiet secret "Idle-Timeout = 8"
radius r1 "$R1"
MORE=$(aaa_config)
gateway
check "the server hears that the NAS is on" records r1 'of("Accounting-On")[0]["NAS-Identifier"] == "gw.example.net"' 3
second() { initiator_up "$1" "$C2" "$GW4" alice@example.net "$PSK_ALICE" "$1" "$2"; }
session() { api value "user('$1')['acct_session_id']"; }
gone() { check "$1's session has ended" api wait "not user('$1')" "${2:-10}"; }
# counters USER: its counters once they stand still, as a Python dict
counters() { local a b=; for _ in $(seq 10); do a=$b; b=$(api value "user('$1')['counters']"); [ "$a" != "$b" ] || break; sleep 0.4; done; echo "$b"; }
# with ID: the names s (its Stop) and k (counters) for an expression
stop_says() { check "$1" records r1 "[s for s in of('Stop') if s['Acct-Session-Id'] == '$ID' and ($2)]" 3; }

bob || finish
ID=$(session bob) BEGAN=$(date +%s)
check "Start" records r1 "of('Start')[0]['Acct-Session-Id'] == '$ID' and of('Start')[0]['Framed-IP-Address'] == '10.100.1.2' and of('Start')[0]['Class'] == '0x626f62'" 3
check "it names both ends, the IKE identity and the tunnel" records r1 'all(of("Start")[0][name] == value for name, value in {"NAS-IP-Address": "10.9.0.1", "Calling-Station-Id": "192.0.2.20", "Called-Station-Id": "192.0.2.1", "Softwire-IKE-Identity": "bob@example.net", "Tunnel-Type": "L2TP", "NAS-Port-Type": "Virtual", "Acct-Authentic": "RADIUS", "Service-Type": "Framed-User", "Framed-Protocol": "PPP"}.items())'
check "Acct-Multi-Session-Id names the IKE peer" records r1 'of("Start")[0]["Acct-Multi-Session-Id"].endswith("-%d" % int("'"$(api value 'ike[0]["peer"]')"'"))'
for web in "[$WEB6]" "$WEB4"; do check "download from $web" in_ns "$CUST" curl -sS -m 60 -o /dev/null "http://$web/file"; done
second carol christmas; CAROL=$(session carol)
check "an orderly end of another" halted carol; gone carol
ID=$CAROL stop_says "its cause is User-Request" 's["Acct-Terminate-Cause"] == "User-Request"'
second brief secret; ID=$(session brief); gone brief 16; stop_says "Session-Timeout ends a session, and is its cause" 's["Acct-Terminate-Cause"] == "Session-Timeout" and 7 <= s["Acct-Session-Time"] <= 9'
halt brief
second quiet secret; ID=$(session quiet); gone quiet 40; stop_says "Idle-Timeout likewise" 's["Acct-Terminate-Cause"] == "Idle-Timeout"'
halt quiet
second carol christmas; ID=$(session carol); api disconnect "$(api value 'user("carol")["id"]')"; gone carol
stop_says "the operator's disconnect is Admin-Reset" 's["Acct-Terminate-Cause"] == "Admin-Reset"'; halt carol

ID=$(session bob)
check "Interim-Update within a minute" records r1 "[i for i in of('Interim-Update') if i['Acct-Session-Id'] == '$ID' and i['Acct-Output-Octets'] > 4000000]" $(( BEGAN + 63 - $(date +%s) ))
k=$(counters bob); echo "$k" >"$LOGS/counters.txt"
check "bob leaves" halted bob; gone bob
SECONDS_=$(( $(date +%s) - BEGAN ))
for pair in Softwire-Input-Octets-IPv4:in_v4_octets Softwire-Output-Octets-IPv4:out_v4_octets Softwire-Input-Octets-IPv6:in_v6_octets Softwire-Output-Octets-IPv6:out_v6_octets \
  Softwire-Input-Packets-IPv4:in_v4_packets Softwire-Output-Packets-IPv4:out_v4_packets Softwire-Input-Packets-IPv6:in_v6_packets Softwire-Output-Packets-IPv6:out_v6_packets; do
  stop_says "Stop: ${pair%:*} is ${pair#*:}" "s['${pair%:*}'] == $k['${pair#*:}'] > 0"
done
stop_says "octets are the families' sum, Gigawords are there" "s['Acct-Input-Octets'] == $k['in_v4_octets'] + $k['in_v6_octets'] and s['Acct-Output-Octets'] == $k['out_v4_octets'] + $k['out_v6_octets'] and s['Acct-Input-Gigawords'] == 0 and s['Acct-Output-Gigawords'] == 0"
stop_says "packets likewise" "s['Acct-Input-Packets'] == $k['in_v4_packets'] + $k['in_v6_packets'] and s['Acct-Output-Packets'] == $k['out_v4_packets'] + $k['out_v6_packets']"
stop_says "session time ($SECONDS_ s by our clock), Class, address" "abs(s['Acct-Session-Time'] - $SECONDS_) <= 2 and s['Class'] == '0x626f62' and s['Framed-IP-Address'] == '10.100.1.2' and 'Event-Timestamp' in s"

say "FreeRADIUS is away while a session ends"
bob || finish
ID=$(session bob); radius_stop r1; TAKEN=$(api value 'radius["records_taken"]')
check "bob leaves" halted bob; gone bob
check "his record waits" api wait 'radius["records_pending"] == 1' 5
sleep 3; radius r1 "$R1"
check "and is taken when the server is back" api wait "radius['records_pending'] == 0 and radius['records_taken'] == $TAKEN + 1" 30
stop_says "with the time of its event" 's["Acct-Terminate-Cause"] == "User-Request"'

say "the gateway is killed with a record that waits and a session that is open"
second carol christmas; CAROL=$(session carol); bob || finish
ID=$(session bob); check "download" in_ns "$CUST" curl -sS -m 60 -o /dev/null "http://[$WEB6]/file"
k=$(counters bob); sleep 2.5
has='[[user(name)[of] for of in ("ipv4", "ipv6_prefix", "delegated")] for name in ("bob", "carol")]'
check "both have a delegated prefix" api wait "all(of[2] for of in $has)" 5; HAD=$(api value "$has")
radius_stop r1
check "carol leaves" halted carol; gone carol
check "her record waits" api wait 'radius["records_pending"] >= 1' 5
halt softwired KILL; halt bob KILL
radius r1 "$R1"; gateway
ID=$CAROL stop_says "the record that waited" 's["Acct-Terminate-Cause"] == "User-Request"'
stop_says "the open session gets its Stop: NAS-Reboot" 's["Acct-Terminate-Cause"] == "NAS-Reboot"'
stop_says "with what it had used by the last checkpoint" "s['Softwire-Output-Octets-IPv6'] == $k['out_v6_octets'] > 2000000 and s['Softwire-Input-Packets-IPv6'] == $k['in_v6_packets']"
check "Accounting-On a second time" records r1 'len(of("Accounting-On")) == 2' 3
check "nothing waits" api wait 'radius["records_pending"] == 0' 10

say "they come back, in another order"
second carol christmas; bob || finish
check "each has the addresses that were his" api wait "$has == $HAD" 5
check "which are remembered for nobody else to read" eval '[ "$(stat -c %a "$STATE/gw-api/leases")" = 600 ]'

say "an orderly end"
ID=$(session bob)
gateway_stop
stop_says "the open session gets its Stop: Admin-Reboot" 's["Acct-Terminate-Cause"] == "Admin-Reboot"'
check "Accounting-Off comes last" records r1 'r[-1]["Acct-Status-Type"] == "Accounting-Off"' 3
check "every Start has exactly one Stop" records r1 'len(of("Start")) == 10 and Counter(x["Acct-Session-Id"] for x in of("Start")) == Counter(x["Acct-Session-Id"] for x in of("Stop"))'
check "no record is there twice" records r1 'max(Counter((x.get("Acct-Session-Id"), x["Acct-Status-Type"], x["Event-Timestamp"]) for x in r).values()) == 1'
finish
