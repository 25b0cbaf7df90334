#!/bin/bash
# Two AFBRs with iBGP in ESP: one offers tunnels of two colors, which lead into two IPsec profiles, one of them on demand (M4, M12, M17, M23, M24)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_layout
# a second network of the island in the east
FAR=10.3.0.2 FARN=10.3.0.0/24
ip -n "$IE" addr add "$FAR/32" dev lo
capture color
AFBRS=
esp() { # NAME START-OF-SILVER
  echo "{ name: gold, identity: $1-gold.example.net, esp_proposals: [aes256gcm16-esn], tfc: true }, { name: silver, identity: $1-silver.example.net, esp_proposals: [null-sha256], rekey: 20s, replay_window: 256, start: $2 }"
}
# Traffic to $FARN asks for color 200; gold takes the rest, and carries BGP.
peers() { # OTHER ADDRESS MORE
  echo "{ name: silver, id: $1-silver.example.net, auth: psk, psk: mesh-silver, softwire: silver, address: \"$2\", color: 200 }, { name: gold, id: $1-gold.example.net, auth: psk, psk: mesh-gold, softwire: gold, address: \"$2\", bgp: true }"
}
bgp() { # ROUTER-ID NEIGHBOUR NETWORKS MORE
  echo "bgp: { asn: 65000, router_id: $1, special_endpoints: true, networks: [$3], neighbours: [{ address: \"$2\", asn: 65000, hold_time: 9 }], ${4:-} }"
}
PROFILES=$(esp west on_demand) PEERS=$(peers east "$E") MORE=$(bgp 1.1.1.1 "$E" "$IWN") west
ROUTES="- { to: $FARN, via: [$IEH], port: island }"
PROFILES=$(esp east respond) PEERS=$(peers west "$W") MORE=$(bgp 2.2.2.2 "$W" "$IEN, $FARN" "tunnels: [{ color: 100, prefixes: [$IEN] }, { color: 200, prefixes: [$FARN] }]") east

state() { echo "next(s['state'] for s in sw if s['profile'] == '$1')"; }
on_the_wire() { in_ns "$ROUTER" tcpdump -nr "$STATE/color.pcap" "$1" 2>/dev/null | grep -c .; }
must "the session is established" api wait 'bgp[0]["state"] == "Established"' 60
check "both prefixes lead to east" api wait 'len(rib) == 2 and all(r["egresses"] == ["'$E'"] for r in rib)' 10
check "each into the softwire of its color" api wait '{s["profile"]: s["prefixes"] for s in sw} == {"gold": ["'$IEN'"], "silver": ["'$FARN'"]}' 5
must "gold is up, which carries BGP" api wait "$(state gold) == 'up'" 40
sleep 3; missing=$(api value 'c["drop.sa_missing"]')   # those of BGP, before gold was up
check "silver is not: nobody has asked for it" api check "$(state silver) == 'down' and not any('NULL' in s['algorithms'] for s in child)"
check "its first packet goes nowhere" refused in_ns "$IW" ping -c1 -W1 "$FAR"
check "and is counted" api check "c['drop.sa_missing'] == $missing + 1"
must "both are up" api wait 'all(s["state"] == "up" for s in sw)' 40
check "the core has seen ESP only" eval '[ "$(on_the_wire "$ESP_OUTER")" -gt 0 ] && [ "$(on_the_wire "tcp or ip6 proto 4 or ip")" = 0 ]'
check "with the algorithms of their profiles" api check '{s["profile"]: s["esp"].lower() for s in sw}["silver"].startswith("null") and "gcm" in {s["profile"]: s["esp"].lower() for s in sw}["gold"]'
islands_talk
check "the other network, too" waits 5 in_ns "$IW" ping -c1 -W1 "$FAR"
out() { api value "{s['profile']: s['out_packets'] for s in sw}['$1']"; }
gold=$(out gold) silver=$(out silver)
check "ping by silver" in_ns "$IW" ping -c10 -i0.05 -W2 -p 5117e25117e25117e2 "$FAR"
check "is counted there only" eval '[ "$(out silver)" = $((silver + 10)) ] && [ "$(out gold)" = "$gold" ]'
check "ping by gold" in_ns "$IW" ping -c10 -i0.05 -W2 -p 901d901d901d901d "$IEH"
check "is counted there" eval '[ "$(out gold)" = $((gold + 10)) ] && [ "$(out silver)" = $((silver + 10)) ]'
check "gold pads, silver does not" api check '{s["profile"]: s["tfc"] for s in sw} == {"gold": True, "silver": False}'
capture even
in_ns "$IW" ping -c5 -i0.05 -W2 -s 10 "$IEH" >/dev/null; in_ns "$IW" ping -c5 -i0.05 -W2 -s 900 "$IEH" >/dev/null
check "so that pings of 10 and of 900 octets are as long as any packet (RFC 4303, section 2.7)" [ "$(seen even "src host $W and $ESP_OUTER and ip6[4:2] = 1460")" -ge 10 ]
check "the session outlives its SA" eval 'api rekey-child "$(api value "[s for s in child if s[\"selected\"] and \"gcm\" in s[\"algorithms\"].lower()][0][\"spi_in\"]")" && sleep 12 && api check "bgp[0][\"established\"] == 1 and bgp[0][\"state\"] == \"Established\""'
check "silver is rekeyed by its own lifetime" api wait 'any(s["seconds"] < 15 and "null" in s["algorithms"].lower() for s in child)' 25
halt dump-color
check "the core sees no packet of BGP or of an island" eval '[ "$(on_the_wire "tcp or ip6 proto 4")" = 0 ] && [ "$(on_the_wire "$ESP_OUTER")" -gt 60 ]'
octets() { in_ns "$ROUTER" tcpdump -xnr "$STATE/color.pcap" "$ESP_OUTER" 2>/dev/null | tr -d ' \n\t' | grep -o "$1" | grep -c .; }
check "what went by silver can be read there (NULL), gold cannot" eval '[ "$(octets 5117e25117e2)" -gt 0 ] && [ "$(octets 901d901d901d)" = 0 ]'
forge "$E" "$W" "$IEH" "$IWH"; check "a clear packet to them is dropped" drops softwire_clear
kill -KILL "${PID[east]}"
check "an AFBR that dies: no session, no routes" api wait 'bgp[0]["state"] != "Established" and not rib and not sw' 20
PROFILES=$(esp east respond) PEERS=$(peers west "$W") MORE=$(bgp 2.2.2.2 "$W" "$IEN, $FARN" "tunnels: [{ color: 100, prefixes: [$IEN] }, { color: 200, prefixes: [$FARN] }]") east
check "when it is back, so are session and routes" api wait "len(rib) == 2 and $(state gold) == 'up'" 90
check "ping again" waits 10 in_ns "$IW" ping -c3 -i0.2 -W1 "$FAR"
check "so that both are up" api check 'len(sw) == 2 and all(s["state"] == "up" for s in sw)'
afbrs_stop
finish
