#!/bin/bash
# Dynamic authorization: CoA changes limits of a session that is up, Disconnect ends it; what is wrong, old, replayed or a stranger's
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa; customer
printf 'bob Service-Type == Authorize-Only, Auth-Type := Accept\n\tSoftwire-Rate-Down = 3000\n' >>"$STATE/users"
user bob builder "Framed-IP-Address = 10.100.1.2"
radius r1 "$R1"
MORE=$(aaa_config) gateway
up() { bob || finish; ID=$(api value 'user("bob")["acct_session_id"]'); }
gone() { check "the session has ended" api wait 'not user("bob")' "${1:-5}"; halt bob; }
raw() { in_ns "$AAA" /usr/bin/python3 "$INTEROP/radius.py" coa "$NAS4:3799" "$COA_SECRET" "$@"; }
speed() { in_ns "$CUST" curl -sS -m 5 -o /dev/null -w '%{speed_download}\n' "http://$WEB4/file" 2>/dev/null | cut -d. -f1; }
operated() { logged softwired -c "verb=\"\?operate"; }
up

say "rates"
fast=$(speed); say "before: $fast octets/s"
check "CoA with rates is acknowledged" answers CoA-ACK coa "User-Name=bob,Softwire-Rate-Down=2000,Softwire-Rate-Up=1000"
check "REST shows them" api check 'user("bob")["rate_down"] == 2000 and user("bob")["rate_up"] == 1000'
slow=$(speed); say "at 2,000 kbit/s: $slow octets/s"
check "downloads are no faster than that" [ "$slow" -gt 25000 -a "$slow" -lt 262000 -a "$fast" -gt $((2 * slow)) ]
check "what exceeds is counted" drops rate_down
before=$(api value 'user("bob")["counters"]["in_v4_octets"]')
in_ns "$CUST" /usr/bin/python3 -c "
import socket, time
s, end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.time() + 4
while time.time() < end:
    s.sendto(bytes(1000), ('$WEB4', 9)); time.sleep(0.001)"
sleep 0.5; sent=$(( $(api value 'user("bob")["counters"]["in_v4_octets"]') - before ))
check "4 s of a flood at 1,000 kbit/s: $sent octets pass, 500,000 and a burst" [ "$sent" -gt 400000 -a "$sent" -lt 540000 ]
check "what exceeds is counted" drops rate_up
check "unlimited again, by rates that are high" answers CoA-ACK coa "Acct-Session-Id=$ID,Softwire-Rate-Down=1000000,Softwire-Rate-Up=1000000"

say "a filter"
check "CoA with Filter-Id" answers CoA-ACK coa "Framed-IP-Address=10.100.1.2,Filter-Id=web"
check "ping does not pass any more" refused in_ns "$CUST" ping -c2 -i0.3 -W1 "$WEB4"
check "and is counted" drops filtered
check "port 80 does" in_ns "$CUST" curl -sS -m 10 -o /dev/null "http://$WEB4/file"
check "a filter that does not exist is refused" answers CoA-NAK coa "User-Name=bob,Filter-Id=nowhere"
check "   as an invalid value (407)" grep -q 'Error-Cause = Invalid-Attribute-Value' "$STATE/answer"

say "authorization anew"
check "CoA with Authorize-Only is put off (507)" eval 'answers CoA-NAK coa "User-Name=bob,Service-Type=Authorize-Only,State=0x0102" && grep -q "Error-Cause = Request-Initiated" "$STATE/answer"'
check "RADIUS was asked, with that State" asked r1 'r[-1]["Service-Type"] == "Authorize-Only" and r[-1]["State"] == "0x0102"' 3
check "and its limits hold" api wait 'user("bob")["rate_down"] == 3000' 3

say "what names a session, what does not"
refuses() { answers CoA-NAK coa "$2" && grep -q "Error-Cause = $1" "$STATE/answer"; }
nak() { check "$1 ($2)" refuses "$2" "$3"; }
nak "no such session" Session-Context-Not-Found "User-Name=nobody,Session-Timeout=60"
nak "one of two names is another's" Session-Context-Not-Found "User-Name=bob,Framed-IP-Address=10.100.1.9,Session-Timeout=60"
nak "an attribute that we do not change" Unsupported-Attribute "User-Name=bob,Framed-Pool=main"
nak "another NAS" NAS-Identification-Mismatch "User-Name=bob,NAS-Identifier=elsewhere,Session-Timeout=60"
nak "no session named" Missing-Attribute "Session-Timeout=60"
check "nothing of it has changed anything" api check 'user("bob")["seconds_left"] is None'
check "Proxy-State comes back" eval 'raw User-Name=bob Session-Timeout=3600 Proxy-State=xyz-1 | tee "$STATE/answer" | grep -q "^Proxy-State xyz-1" && grep -q CoA-ACK "$STATE/answer"'
check "Session-Timeout holds" lasts bob 3600

say "replayed, old, unsigned, a stranger's"
n=$(operated); check "the same octets twice: the same answer" eval 'raw --twice User-Name=bob Session-Timeout=1800 | grep -q CoA-ACK'
check "but done once" [ "$(operated)" = $((n + 1)) ]
discarded() { api value 'sum(radius["dynamic_discards"].values())'; }
unanswered() { raw "$@" User-Name=bob Session-Timeout=60 | grep -q "no answer"; }
silent() { local d what=$1; shift; d=$(discarded)
  check "$what is not answered" unanswered "$@"; check "   but counted" [ "$(discarded)" -gt "$d" ]; }
silent "an Event-Timestamp of an hour ago" --age 3600
silent "one without Message-Authenticator" --bare
silent "an unknown sender" --from "$R2"
COA_SECRET=wrong silent "one signed with another secret"
api value 'radius["dynamic_discards"]'
check "bob's session is as it was" lasts bob 1800

say "ends"
check "CoA with a Session-Timeout that is over soon" answers CoA-ACK coa "User-Name=bob,Session-Timeout=$(api value 'user("bob")["seconds"] + 3')"
gone 8
up; check "CoA with Idle-Timeout" answers CoA-ACK coa "User-Name=bob,Idle-Timeout=3"; gone 30
for name in "User-Name=bob" "Framed-IP-Address=10.100.1.2"; do up; check "Disconnect-Request by ${name%=*}" answers Disconnect-ACK disconnect "$name"; gone; done
up; check "by Acct-Session-Id, sent twice: both times acknowledged" eval 'raw --disconnect --twice "Acct-Session-Id=$ID" | grep -q Disconnect-ACK'; gone
# No other request has these names: one with the same Id in the same second would be a replay of it.
check "Disconnect-Request for a session that is no more" eval 'answers Disconnect-NAK disconnect "User-Name=bob,Framed-IP-Address=10.100.1.2" && grep -q "Error-Cause = Session-Context-Not-Found" "$STATE/answer"'
check "accounting has their causes" records r1 '[s["Acct-Terminate-Cause"] for s in of("Stop")] == ["Session-Timeout", "Idle-Timeout", "Admin-Reset", "Admin-Reset", "Admin-Reset"]' 3
gateway_stop
finish
