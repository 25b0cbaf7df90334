#!/bin/bash
# run.sh - the capacity lab, small: softwired and softwire-capacity on two veth pairs; ramp, churn, flap, traffic both ways, a search for
# the highest rate, set-ups with certificates. What is checked is that it measures rightly, never how fast it was. Needs root.
# BIN=DIR: binaries, target/release where absent. COUNT=N: subscribers (40).
. "$(dirname "$0")/lib.sh"
"$REPO/tests/setup/apt.sh" build lab && "$REPO/tests/setup/root.sh" || exit 1

wires
must "certificates are made" "$CAPACITY" pki "$STATE/pki" --gateway gw.example.net
profile smoke.yaml "$STATE/smoke.yaml"; profile setups.yaml "$STATE/setups.yaml"
serve "$STATE/smoke.yaml" "$VETH_PORTS" 192.0.2.1

check "the smoke test meets its criteria" generator smoke "$STATE/smoke.yaml" || { tail -n 60 "$LOGS/smoke/output.log" | sed 's/^/         | /'; }
must "there is a result" test -s "$LOGS/smoke/result.json"
check "all subscribers came up" result smoke "s['ramp']['subscribers']['up'] == $COUNT and s['ramp']['subscribers']['failed'] == {}"
check "sessions ended and came back, and none was lost" result smoke "s['churn']['subscribers']['closed'] > 3 and s['churn']['subscribers']['up'] == $COUNT and s['churn']['subscribers']['lost'] == {}"
check "those who stayed lost no packet meanwhile" result smoke "all(f['sent'] == f['received'] > 100 for f in s['churn']['trials'][0]['flows'])"
check "all were back after they had vanished at once, and none was rejected" result smoke "s['flap']['subscribers']['complete'] is not None and s['flap']['subscribers']['ups'] == $COUNT and s['flap']['subscribers']['failed'] == {}"
PERFECT="{t['size'] for t in s['traffic']['trials']} == {'64', 'imix'} and all(f['sent'] == f['received'] > 100 and f['duplicated'] == f['corrupted'] == f['misdelivered'] == 0 for t in s['traffic']['trials'] for f in t['flows'])"
check "packets of each size went both ways, none lost, twice, corrupted or astray" result smoke "$PERFECT"
check "with a latency" result smoke "all(0 < l['p50'] <= l['p99'] <= l['p999'] <= l['max'] for t in s['traffic']['trials'] for l in t['latency'])"
check "the search ended with a rate, which a trial has shown" result smoke \
  "all(0 < x['ndr'] <= x['pdr'] for x in s['search']['searches']) and all(any(t['search'] and max((f['sent'] - f['received']) / max(f['sent'], 1) for f in t['flows']) <= 0.001 for t in s['search']['trials'] if t['size'] == x['size']) for x in s['search']['searches'])"
check "all said goodbye" result smoke "s['teardown']['subscribers']['closed'] == $COUNT and s['teardown']['subscribers']['up'] == 0"
check "the gateway has no session any more" api wait 'st["sessions"] == 0' 10
check "nothing was dropped for a bad ICV, a replay or a foreign session" api wait 'all(c.get("drop." + r, 0) == 0 for r in ("esp_integrity", "esp_replay", "session_binding", "inner_source"))' 5

check "set-ups with certificates meet their criteria" generator setups "$STATE/setups.yaml" || { tail -n 30 "$LOGS/setups/output.log" | sed 's/^/         | /'; }
check "both kinds were set up again and again, and none failed" result setups \
  "[x['setups']['extent'] for x in r['stages'] if x['setups']] == ['ike', 'softwire'] and all(x['subscribers']['ups'] > 20 and x['subscribers']['failed'] == {} for x in r['stages'] if x['setups'])"

check "a criterion that is not met is said by the exit status" eval 'sed "s/^criteria:.*/criteria: { setups: 1e9 }/" "$STATE/setups.yaml" >"$STATE/never.yaml"; generator never "$STATE/never.yaml"; [ $? = 1 ]'
check "a report beside an earlier result" "$CAPACITY" report "$LOGS/smoke/result.json" --compare "$LOGS/smoke/result.json" --out "$LOGS/smoke/compared.html"
whole() { /usr/bin/python3 -c 'import sys, xml.dom.minidom as m; d = m.parseString(open(sys.argv[1]).read().split("\n", 1)[1]); assert len(d.getElementsByTagName("svg")) >= 5 and len(d.getElementsByTagName("table")) >= 5' "$1"; }
for report in report compared; do check "$report.html is whole, with tables and plots" whole "$LOGS/smoke/$report.html"; done
served

profile memif.yaml "$STATE/memif.yaml"
serve "$STATE/memif.yaml" "$MEMIF_PORTS" 2001:db8:a::1
check "two packet cores over shared memory, one of them on VLANs, with IPv6 outside, meet their criteria" generator memif "$STATE/memif.yaml" || { tail -n 30 "$LOGS/memif/output.log" | sed 's/^/         | /'; }
check "all came up, vanished and returned" result memif "s['ramp']['subscribers']['ups'] == s['flap']['subscribers']['ups'] == s['teardown']['subscribers']['closed'] == $COUNT"
check "packets of each size went both ways, none lost, twice, corrupted or astray" result memif "$PERFECT"
served
finish
