#!/bin/bash
# FRR as a CE by eBGP behind west, east by iBGP over the IPv6 core: policies, RFC 8212, RPKI caches (stayrtr, TCP and TLS), max-prefix
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
CEN=10.11.0.0/24 CEH=10.11.0.1 BADN=10.12.0.0/24
mesh_layout
ip -n "$IW" addr add "$CEH/32" dev lo   # the CE's own network
frr ce "$IW" <<F
router bgp 65001
 bgp router-id 8.8.8.8
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor $IWA remote-as 65000
 neighbor $IWA disable-connected-check
 neighbor $IWA local-role customer
 neighbor $IWA timers 3 9
 neighbor $IWA timers connect 3
 address-family ipv4 unicast
  network $CEN
  network $BADN
 exit-address-family
F

# two caches with the same data, one over TCP, one over TLS; the CE may originate CEN, and who may originate BADN changes
roas() { # AS-OF-BADN
  cat >"$STATE/roas.new" <<J
{ "metadata": { "buildtime": "$(date -u +%FT%TZ)" }, "roas": [
  { "prefix": "$CEN", "maxLength": 24, "asn": 65001, "ta": "test", "expires": $(( $(date +%s) + 86400 )) },
  { "prefix": "$BADN", "maxLength": 24, "asn": $1, "ta": "test", "expires": $(( $(date +%s) + 86400 )) } ] }
J
  mv "$STATE/roas.new" "$STATE/roas.json"
}
roas 65009
key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$STATE/$1.key" "${@:2}" 2>/dev/null; }
key ca -x509 -days 2 -out "$STATE/ca.pem"; key rtr -out "$STATE/rtr.csr"
openssl x509 -req -in "$STATE/rtr.csr" -CA "$STATE/ca.pem" -CAkey "$STATE/ca.key" -CAcreateserial -days 2 \
  -extfile <(echo subjectAltName=DNS:rpki.example.net) -out "$STATE/rtr.pem" 2>/dev/null
stayrtr() { local n=$1; shift; spawn "$n" "$WEST" /usr/bin/stayrtr -cache "$STATE/roas.json" -refresh 1 -checktime=false -metrics.addr "127.0.0.1:0" -rtr.refresh 30 -rtr.retry 2 -rtr.expire 600 "$@"; }
stayrtr rtr-tcp -bind 127.0.0.1:8282
stayrtr rtr-tls -bind "" -tls.bind 127.0.0.1:8283 -tls.cert "$STATE/rtr.pem" -tls.key "$STATE/rtr.key"

to_east="{ address: \"$E\", asn: internal, next_hop_self: true, hold_time: 9 }"
bgp_west() { # NEIGHBOUR-SETTINGS: towards the CE
  cat <<Y
bgp:
  asn: 65000
  router_id: 1.1.1.1
  special_endpoints: true
  prefix_lists: { customer: [$CEN, "10.12.0.0/16 le 24", "10.13.0.0/16 le 24"] }
  policies:
    from-ce: { rules: [{ match: { prefix_list: customer, origin_as: 65001 }, set: { local_pref: 200, add_communities: [65000:100] }, then: accept }] }
    to-ce: { rules: [{ set: { med: 50, add_communities: [65000:200] }, then: accept }] }
  rtr:
    - { name: plain, address: 127.0.0.1, port: 8282, preference: 10 }
    - { name: secure, address: 127.0.0.1, port: 8283, preference: 20, tls: { ca: $STATE/ca.pem, server_name: rpki.example.net } }
  neighbours:
    - $to_east
    - { address: $IWH, asn: 65001, hold_time: 9, connect_retry: 1s, role: provider, strict_role: true$1 }
Y
}
AFBRS=
MORE="bgp: { asn: 65000, router_id: 2.2.2.2, networks: [$IEN], tunnels: [{ color: 100 }], special_endpoints: true, neighbours: [{ address: \"$W\", asn: internal, hold_time: 9 }] }" east
established() { api wait 'len(bgp) == 2 and all(n["state"] == "Established" for n in bgp)' "${1:-40}"; }
has() { api wait 'any(r["prefix"] == "'"$1"'" and r["next_hop"] == "'"$IWH"'" and not r["egresses"] for r in rib)' "${2:-10}"; }
has_not() { api check 'not any(r["prefix"] == "'"$1"'" for r in rib)'; }
ce_knows() { vty ce "show bgp ipv4 unicast $1 json" | grep -q '"valid":true'; }

MORE=$(bgp_west "") west
must "west has sessions with the CE and with east" established
sleep 2
check "without a policy the CE's routes are not taken (RFC 8212)" has_not "$CEN"
check "nor is it sent any" eval '! ce_knows "$IEN"'
check "west ends when asked" halted west

spawn dump-ce "$IW" tcpdump -Uni i0 -w "$STATE/ce.pcap" tcp port 179; sleep 1
CE=", import: from-ce, export: to-ce, max_prefix: { limit: 4 }"
MORE=$(bgp_west "$CE") west
must "west has sessions again" established
must "west has both caches" api wait 'len(rtr) == 2 and all(c["state"] == "up" and c["ipv4"] == 2 for c in rtr)' 20
check "and listens to the one it prefers" api check '[c["name"] for c in rtr if c["used"]] == ["plain"] and "softwire_rtr_vrps{cache=\"secure\",family=\"ipv4\"} 2" in metrics'
check "the CE's route is taken" has "$CEN"
check "east has it behind west's softwire" api_east wait 'any(r["prefix"] == "'$CEN'" and r["egresses"] == ["'$W'"] for r in rib)' 10
check "the CE has east's island, west being next hop" waits 10 ce_knows "$IEN"
vty ce "show bgp ipv4 unicast $IEN" >"$LOGS/ce-route.txt"
check "with what the policy sets" eval 'grep -q "metric 50" "$LOGS/ce-route.txt" && grep -q "65000:200" "$LOGS/ce-route.txt" && grep -q "$IWA" "$LOGS/ce-route.txt"'
check "the route that the RPKI makes invalid is not taken" has_not "$BADN"
check "CE to island" waits 10 in_ns "$IW" ping -c1 -W1 -I "$CEH" "$IEH"
check "ping, nothing lost" in_ns "$IW" ping -c20 -i0.05 -W2 -I "$CEH" "$IEH"
check "and back" in_ns "$IE" ping -c20 -i0.05 -W2 "$CEH"
check "download, every octet right" eval '[ "$(in_ns "$IW" curl -sS -m 60 --interface "$CEH" "$(url $IEH)" | md5sum | cut -d" " -f1)" = "$WEB_SUM" ]'

roas 65001
check "when the cache says so, it is valid and taken" has "$BADN" 20
check "by east, too" api_east wait 'any(r["prefix"] == "'$BADN'" for r in rib)' 10
roas 65009
check "and invalid again" api wait 'not any(r["prefix"] == "'$BADN'" for r in rib)' 20
check "the cache dies" halted rtr-tcp
check "the one over TLS is listened to" api wait '[c["name"] for c in rtr if c["used"]] == ["secure"] and rtr[0]["last_error"]' 10
roas 65001
check "and followed" has "$BADN" 20
stayrtr rtr-tcp -bind 127.0.0.1:8282
check "the preferred one is back" api wait '[c["name"] for c in rtr if c["used"]] == ["plain"] and rtr[0]["state"] == "up"' 20

halt dump-ce
attribute_23() { tcpdump -nvr "$1" 2>/dev/null | grep -E "(Tunnel Encap|Attribute \(23\)|Unknown \(23\)|\(23\))"; }
check "the tunnel attribute is not told to the CE" eval '! attribute_23 "$STATE/ce.pcap"'
vty ce "configure terminal" "router bgp 65001" "address-family ipv4 unicast" "network 10.13.1.0/24" "network 10.13.2.0/24" "network 10.13.3.0/24"
check "too many prefixes end the session" api wait 'any(n["address"] == "'$IWH'" and n["state"] != "Established" and "refix" in (n["last_down"] or "") for n in bgp)' 10
check "and with it its routes" api wait 'not any(r["next_hop"] == "'$IWH'" for r in rib)' 5
check "at east, too" api_east wait 'not rib' 5
check "west ends when asked" halted west

# where it is asked for, the tunnel attribute passes: the check above would have seen it
spawn dump-ce2 "$IW" tcpdump -Uni i0 -w "$STATE/ce2.pcap" tcp port 179; sleep 1
MORE=$(bgp_west ", import: accept, export: accept, tunnels: true, reject_invalid: false") west
must "west has sessions again" established
check "without max_prefix all is taken, invalid or not" has 10.13.3.0/24
roas 65009
check "as the neighbour says" eval 'sleep 3; has "$BADN" 1'
check "the CE has east's island again" waits 10 ce_knows "$IEN"
halt dump-ce2
check "now with its tunnel attribute" attribute_23 "$STATE/ce2.pcap"
check "west ends when asked" halted west

# a neighbour that nobody has named
cat >"$STATE/dynamic" <<Y
bgp:
  asn: 65000
  router_id: 1.1.1.1
  neighbours: [$to_east]
  dynamic_neighbours: [{ range: $IWN, max: 2, neighbour: { asn: external, hold_time: 9, role: provider, import: accept, export: accept } }]
Y
MORE=$(cat "$STATE/dynamic") west
must "the CE is taken out of a range" established
check "and its routes are" has "$CEN"
afbrs_stop
finish
