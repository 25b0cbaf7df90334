#!/bin/bash
# Packet traces: a ping and its answer node by node, a spoofed packet's end, and a file that tshark reads
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
# traces PATH CURL-ARGUMENT...
traces() { curl -sS -m 5 --unix-socket "$STATE/gw-api/sock" -H 'content-type: application/json' "http://gw/api/v1/traces$1" "${@:2}"; }
# started REQUEST: its number goes into $ID
started() { ID=$(traces "" -d "$1" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'); }
# shows EXPRESSION: it is true of the trace t and of the ways of its packets
shows() {
  traces "/$ID" | /usr/bin/python3 -c '
import json, sys
t = json.load(sys.stdin)
ways = [" ".join(node["node"] for node in packet["nodes"]) for packet in t["packets"]]
sys.exit(0 if eval(sys.argv[1]) else json.dumps(t)[:2000])' "$1"
}
# frames N FILTER: so many frames of the file pass the filter
frames() { [ "$(tshark -n -r "$STATE/trace.pcapng" -Y "$2" | wc -l)" = "$1" ] || { tshark -n -r "$STATE/trace.pcapng"; return 1; }; }
pings() { in_ns "$CUST" ping -c "$1" -i 0.2 -W 2 "$WEB6"; }

must "tshark is there" command -v tshark
layout; gateway; customer; bob
session=$(api value 'user("bob")["id"]')
check "the web server's address is resolved" waits 5 pings 1

started "{\"filter\": {\"session\": \"$session\", \"destination\": \"$WEB6\", \"protocol\": \"icmpv6\"}, \"packets\": 3}"
check "one trace at a time" test "$(traces "" -d '{}' -o /dev/null -w '%{http_code}')" = 409
check "pings" pings 3
check "their way from the subscriber" waits 5 shows 't["state"] == "done" and ways == 3 * ["rx classify esp-in decrypted l2tp-in forward tx"]'
check "they were sent, and none was lost" shows 't["lost"] == 0 and {p["verdict"] for p in t["packets"]} == {"sent"}'
check "as ESP they came, by the port they came in" shows 't["packets"][0]["nodes"][0]["detail"]["protocol"] == "esp" and t["packets"][0]["port"] == "access"'
traces "/$ID/pcapng" -o "$STATE/trace.pcapng"
check "tshark: ESP as it came" frames 3 'frame.interface_name == "access" && esp'
check "tshark: L2TP, decrypted" frames 3 'frame.interface_name == "inside" && l2tp && icmpv6.type == 128'
check "tshark: the subscriber's packet" frames 3 'frame.interface_name == "inside" && !l2tp && icmpv6.type == 128'
check "tshark: as it left" frames 3 "frame.interface_name == \"core\" && ipv6.dst == $WEB6"
check "tshark: comments" frames 12 'frame.comment matches "packet [123] at [a-z2-]+; rx classify esp-in .* tx; sent"'
check "nothing is malformed" frames 0 '_ws.malformed'

started "{\"filter\": {\"source\": \"$WEB6\"}, \"packets\": 1}"
pings 1 >/dev/null
check "the way of an answer" waits 5 shows 'ways == ["rx classify forward l2tp-out esp-out output tx"]'

started '{"filter": {"source": "2001:db8:bad::/48", "dropped": true}}'
ip -n "$CUST" addr add 2001:db8:bad::1/128 dev bob nodad
in_ns "$CUST" ping -c 1 -W 1 -I 2001:db8:bad::1 "$WEB6" >/dev/null
check "the end of a spoofed packet" waits 5 shows 'ways == ["rx classify esp-in decrypted l2tp-in drop"] and t["packets"][0]["verdict"] == "dropped inner_source"'
check "it goes on until it is deleted" shows 't["state"] == "running"'
check "deleted" test "$(traces "/$ID" -X DELETE -o /dev/null -w '%{http_code}')" = 204
check "forgotten" test "$(traces "/$ID" -o /dev/null -w '%{http_code}')" = 404
check "who looks inside is in the audit log" eval '[ "$(logged softwired -c "packets of trace")" = 1 ]'
gateway_stop
finish
