#!/bin/bash
# schemathesis.sh - a softwired with a small configuration, without NICs, in a namespace; and its API against its own
# description (openapi.json): requests that are right and requests that are wrong, EXAMPLES of each for every operation (30).
# It fails on statuses and contents that are not described, on 5xx, on what is taken though it is wrong. The same
# requests each time; SEED=N for others.
. "$(dirname "$0")/../interop/lib.sh"
API=https://127.0.0.1:8443 SOCKET=$STATE/api.sock
VENV=${VENV:-$REPO/target/schemathesis} VERSION=4.32.5

api_config() {
  cat >"$1" <<Y
dataplane: { workers: [$CPU_GW], poll: idle, eal: [--no-pci, $("$REPO/tests/setup/hugepages.sh" 64)], max_sessions: 64, buffers: 4096 }
ports: [{ name: access, device: "net_null0,no-rx=1", zone: public, addresses: [192.0.2.1/24, "2001:db8:a::1/64"] }]
listeners: [{ name: secure, address: 192.0.2.1 }]
mesh: { local: ["2001:db8:a::1"], afbrs: [{ name: east, address: "2001:db8:a::2", prefixes: [10.2.0.0/16] }] }
ike: { identity: gw.example.net, peers: [{ name: alice, id: alice@example.net, auth: psk, psk: alice-key }] }
bgp: { asn: 65000, router_id: 192.0.2.1, networks: [10.1.0.0/16], neighbours: [{ address: "2001:db8:a::3", asn: 65000 }] }
ppp: { local_ipv4: 10.100.0.1 }
pools: { ipv4: [10.100.0.0/24] }
subscribers: [{ user: alice, secret: wonderland }]
api: { listen: 127.0.0.1:8443, socket: $SOCKET, state: $STATE/api }
Y
}
local_api() { in_ns "$GW" curl -sf --unix-socket "$SOCKET" "$@"; }
up() { local_api http://gw/api/v1/health; }
# a token that may do everything
login() { TOKEN=$(local_api -H 'content-type: application/json' -d '{"name":"schemathesis","role":"admin"}' http://gw/api/v1/tokens | sed -n 's/.*"token":"\([^"]*\)".*/\1/p'); [ -n "$TOKEN" ]; }
install() {
  "$VENV/bin/schemathesis" --version 2>/dev/null | grep -q " $VERSION\$" && return
  rm -rf "$VENV"; python3 -m venv "$VENV" && "$VENV/bin/pip" install -q "schemathesis==$VERSION"
}
# Wrong tokens are slowed down, so the check of them sees 429 soon: mgmt-api/src/access/tests goes through all routes and roles.
# Streams do not end, and are not for it; tokens are left out, too, so that ours stays (schemathesis.toml). The rest is meant as it is
# sent: a configuration that happens to be right is committed, and a drain keeps everybody out. This softwired is for nothing else.
fuzz() {
  local repeatable=(--generation-deterministic)
  [ -z "${SEED:-}" ] || repeatable=(--generation-database none --seed "$SEED")
  cd "$STATE" && in_ns "$GW" "$VENV/bin/schemathesis" --config-file "$REPO/tests/api/schemathesis.toml" run "$REPO/mgmt-api/openapi.json" \
    --url "$API" --tls-verify false -H "Authorization: Bearer $TOKEN" --no-color --phases examples,coverage,fuzzing --checks all --exclude-checks ignored_auth \
    --max-examples "${EXAMPLES:-30}" --request-timeout 10 "${repeatable[@]}" "$@" >"$LOGS/schemathesis.log" 2>&1
}
# a stream is open, and says what happens
streams() { in_ns "$GW" timeout 5 curl -sN --unix-socket "$SOCKET" http://gw/api/v1/events?kinds=drain >"$STATE/events" & sleep 1; local_api -X POST -H 'content-type: application/json' -d '{"mode":"refuse"}' http://gw/api/v1/drain && local_api -X DELETE http://gw/api/v1/drain; wait $!; grep -q '^event: drain.start' "$STATE/events"; }
# --log-format json: whatever was asked, a line is an object; DPDK writes lines of its own, and the new certificate is for people
objects() {
  grep -vE '^(EAL|TELEMETRY|USER1): |^made a certificate |^its SHA-256 ' "$LOGS/softwired.log" |
    python3 -c 'import json, sys; said = [json.loads(s) for s in sys.stdin]; assert said and all(x["level"] and x["target"] and x["fields"] for x in said)'
}
metrics() { local_api http://gw/metrics | tail -n 1 | grep -q '^# EOF'; }

netns "$GW"; api_config "$STATE/gw.yaml"
must "schemathesis $VERSION is there" install
must "softwired accepts the configuration" in_ns "$GW" "$BIN/softwired" check -c "$STATE/gw.yaml"
rm -f "$LOGS/softwired.log"; spawn softwired "$GW" "$BIN/softwired" -c "$STATE/gw.yaml" --log-format json
must "softwired is up" waits 30 up
login; must "a token is made" test -n "$TOKEN"
check "it is ready: its workers poll" local_api http://gw/api/v1/ready
check "the document is the committed one" eval 'local_api http://gw/api/v1/openapi.json | cmp - "$REPO/mgmt-api/openapi.json"'
check "every operation does as the document says" fuzz || grep -A40 "FAILURES\|ERRORS" "$LOGS/schemathesis.log" | head -n 80
say "$(grep -E "^ *[0-9]+ (generated|passed|test)|Test cases|cases generated" "$LOGS/schemathesis.log" | tr -s ' \n' ' ')"
check "events are streamed" streams
check "metrics are whole" metrics
check "softwired is alive, and has not panicked" eval 'alive softwired && ! logged softwired -q panicked'
check "softwired ends when asked" halted softwired
check "each line of its log is JSON, with a level, a target and fields" objects
finish
