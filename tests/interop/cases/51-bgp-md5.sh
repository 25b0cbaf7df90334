#!/bin/bash
# BGP protected: TCP MD5 and TTL security with FRR, wrong keys, spoofed and flooding strangers, a key change under a session
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
mesh_layout
KEY=correct-horse-battery SECOND=staple-and-what-not
frr peer "$ROUTER" <<F
router bgp 65100
 bgp router-id 9.9.9.9
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor afbr peer-group
 neighbor afbr remote-as 65000
 neighbor afbr timers 3 9
 neighbor afbr password $KEY
 neighbor $W peer-group afbr
 neighbor $W ttl-security hops 1
 neighbor $E peer-group afbr
 address-family ipv6 unicast
  neighbor afbr activate
 exit-address-family
F
# the chain between the gateways changes while their session is up
CHANGE=$(date -u -d '+60 sec' +%FT%TZ)
bgp() { # ROUTER-ID FRR FRR-CHAIN OTHER MORE-NEIGHBOURS
  cat <<Y
bgp:
  asn: 65000
  router_id: $1
  key_chains:
    - { name: frr, keys: [{ id: 7, secret: $KEY }] }
    - { name: wrong, keys: [{ id: 1, secret: horse }] }
    - { name: ao, keys: [{ id: 1, secret: $KEY-ao }] }
    - name: mesh
      keys:
        - { id: 1, secret: $KEY-mesh, start: 2026-01-01T00:00:00Z, end: $CHANGE }
        - { id: 2, secret: $SECOND, start: $CHANGE }
  neighbours:
    - { address: "$2", asn: 65100, md5: $3, ttl_security: 1, import: accept, export: accept, hold_time: 9 }
    - { address: "$4", asn: 65000, md5: mesh, ttl_security: 2, hold_time: 9 }
    $5
Y
}
AFBRS=
capture bgp
MORE=$(bgp 1.1.1.1 "$RW" frr "$E" "- { address: \"$RE\", asn: 65100, tcp_ao: ao }") west
MORE=$(bgp 2.2.2.2 "$RE" wrong "$W" "") east

must "the session with FRR, signed and at TTL 255, is established" api wait 'bgp[0]["state"] == "Established"' 40
must "that of the gateways, two hops long, too" api wait 'bgp[1]["state"] == "Established"' 30
check "REST shows what protects it" api check 'bgp[0]["protection"] == {"method": "md5", "key_chain": "frr", "key_id": 7, "ttl_security": 1, "warnings": [], "refused": None}'
check "and the first key of the chain" api check 'bgp[1]["protection"]["key_id"] == 1'
check "a short and old key is warned of" eval 'api_east check "any(\"12 octets\" in w for w in bgp[0][\"protection\"][\"warnings\"])" && grep -q "12 octets" "$LOGS/east.log" && grep -q "more than 90 days" "$LOGS/west.log"'
check "no secret in what REST and logs tell" eval 'rest west /api/v1/bgp/neighbours | grep -q Established && ! rest west /api/v1/bgp/neighbours | grep -qE "horse|staple" && ! sed "s/mesh-key//" "$LOGS/west.log" "$LOGS/east.log" | grep -qE "horse|staple"'
check "with another key there is no session" api_east check 'bgp[0]["state"] != "Established" and bgp[0]["established"] == 0'
check "nor does FRR see one" eval '! vty peer "show bgp neighbors $E" | grep -q "BGP state = Established"'
check "without TCP-AO in the kernel there is none either, and it is said why" eval 'api check "\"no TCP-AO\" in (bgp[2][\"protection\"][\"refused\"] or \"\")" && grep -q "CONFIG_TCP_AO" "$LOGS/west.log"'
N=$(api value 'bgp[0]["messages_in"]'); halt dump-bgp
dumped() { in_ns "$ROUTER" tcpdump -nnr "$STATE/$1.pcap" "$2" 2>/dev/null; }
signed() { [ "$(dumped "$1" "$2" | grep -c md5)" -ge "$3" ] && ! dumped "$1" "$2" | grep -v md5; }
check "every segment carries an MD5 signature" signed bgp "tcp port 179" 20
# a reset of what is closed is from no socket, and has no TTL of one
NEAR="tcp and src host $W and dst host $RW and ip6[53] & 4 == 0 and ip6[7]"
check "ours to the neighbour on the link have hop limit 255" eval '[ "$(dumped bgp "$NEAR == 255" | grep -c .)" -ge 4 ] && [ "$(dumped bgp "$NEAR != 255" | grep -c .)" = 0 ]'
check "nothing was sent to the neighbour that cannot be protected" [ "$(dumped bgp "tcp and host $W and host $RE" | grep -c .)" = 0 ]

# TTL security: a neighbour's address from further away, and strangers
syns() { in_ns "$ROUTER" /usr/bin/python3 "$INTEROP/frames.py" syn "$@"; }
before=$(api value 'c["drop.spd_discard"]')
syns "$RW" "$W" 254 50
check "segments from further away than the neighbour are dropped" api wait "c['drop.spd_discard'] >= $before + 50" 5
syns 2001:db8:f1::66 "$W" 255 50
check "so are those of a stranger" api wait "c['drop.spd_discard'] >= $before + 100" 5
punted=$(api value 'c["punt.bgp"]')
spawn flood-syn "$ROUTER" /usr/bin/python3 "$INTEROP/frames.py" syn "$RW" "$W" 254 100000000
spawn flood-ping "$ROUTER" ping -qf "$W"
sleep 12
halt flood-syn KILL; halt flood-ping KILL
check "a flood of them, and one of pings, leave the session up" api check 'bgp[0]["state"] == "Established" and bgp[0]["established"] == 1'
check "and none of it was taken for BGP" api check "c['drop.spd_discard'] > $before + 5000 and c['punt.bgp'] < $punted + 500"

# a key change under a session
must "the gateways change their key when its time has come" api wait 'bgp[1]["protection"]["key_id"] == 2' 70
check "east, too" api_east wait 'bgp[1]["protection"]["key_id"] == 2' 5
M=$(api value 'bgp[1]["messages_in"]'); capture changed; sleep 14
check "their session stays up, past the hold time" api check 'bgp[1]["state"] == "Established" and bgp[1]["established"] == 1'
check "and messages go on" api check "bgp[1]['messages_in'] >= $M + 3"
halt dump-changed
check "signed as before" signed changed "tcp port 179 and host $E" 5

check "FRR's session has not been lost either" api check "bgp[0]['established'] == 1 and bgp[0]['messages_in'] > $N"
vty peer "conf t" "router bgp 65100" "neighbor $W password $SECOND" >/dev/null
check "FRR with another key: the session ends and does not come back" eval 'api wait "bgp[0][\"state\"] != \"Established\"" 15 && sleep 12 && api check "bgp[0][\"established\"] == 1"'
vty peer "conf t" "router bgp 65100" "neighbor $W password $KEY" >/dev/null
check "with the right one it does" api wait 'bgp[0]["state"] == "Established"' 60
afbrs_stop
finish
