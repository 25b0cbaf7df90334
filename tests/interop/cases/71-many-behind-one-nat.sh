#!/bin/bash
# Five IKEv1 clients behind one NAT, all from UDP port 1701, two of them with one address and one identity; rekey, hairpin, one leaves (H40)
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
export NAT_SECONDS=180; layout; layout_nat
# two more routers behind that one: 192.168.1.5 exists twice
cascade() { # NAME BRIDGE ADDRESS
  local ns=$PFX-$1; bridge "$NAT" "$2"; netns "$ns"; veth "$ns" wan "$NAT" "w$1"; port "$NAT" brc "w$1"; veth "$ns" lan "$NAT" "l$1"; port "$NAT" "$2" "l$1"
  address "$ns" wan "$3/24"; address "$ns" lan 192.168.1.1/24; ip -n "$ns" route add default via 10.1.0.1; masquerade "$ns"; }
cascade ra bra 10.1.0.11; cascade rb brb 10.1.0.12
SMP=2 CPU_VM=0-$CPU_GW boot many "$NAT" brc:10.1.0.2/24 brc:10.1.0.3/24 brc:10.1.0.4/24 bra:192.168.1.5/24 brb:192.168.1.5/24
ALL="c1 c2 c3 c4 c5" SHARED=a-secret-for-all-0123
who() { # NAME ADDRESS USER PASSWORD SECRET [IDENTITY]   without, its identity is its address, as with Windows, and with the shared secret so is the gateway's
  printf '%s\n' "IKE=1 L=$2 R=$GW4 RID=$([ "$5" = $SHARED ] && echo $GW4 || echo gw.example.net) USERN=$3 PASSW=$4 PSK=$5 LID=${6:-}" >"$STATE/share/$1.env"; }
who c1 10.1.0.2 alice wonderland "$PSK_ALICE" alice@example.net
who c2 10.1.0.3 eve eavesdrop "$PSK_EVE" eve@example.net
who c3 10.1.0.4 carol carolsecret $SHARED
who c4 192.168.1.5 dan danish $SHARED
who c5 192.168.1.5 dora explorer $SHARED
SUBSCRIBERS="
  - { user: dan, secret: danish }
  - { user: dora, secret: explorer }" LISTENER=", ikev1: { shared_secret: { secret: $SHARED } }" gateway
bystander; ready many
must "five customers" g many 'for c in "c1 eth0 10.1.0.1" "c2 eth1 10.1.0.1" "c3 eth2 10.1.0.1" "c4 eth3 192.168.1.1" "c5 eth4 192.168.1.1"; do /t/ns.sh add $c || exit 1; done'

all "IKE SAs and child SAs, five at once" '/t/ike.sh start && /t/ike.sh add gw && /t/ike.sh up gw' || finish
check "they are five peers behind one address" api check 'len([s for s in ike if s["version"] == 1 and s["natt"] and s["remote"].startswith("192.0.2.254:")]) == 5'
check "two of them with one identity" api check 'len([s for s in ike if s["remote_id"].endswith("192.168.1.5")]) == 2'
check "three by the shared secret: in REST" api check 'len([s for s in ike if s["shared_secret"]]) == 3'
check "   and in the log" eval '[ "$(logged softwired -cE "weak IKE SA.*shared_secret|shared_secret.*weak IKE SA")" -ge 3 ]'
all "L2TP and PPP" "/t/l2tp.sh lac $GW4 && /t/l2tp.sh wait" || finish
users='{s["user"] for s in subs if s["state"] == "open"} >= {"alice", "eve", "carol", "dan", "dora"}'
check "five sessions, five addresses" api check "$users"' and len({s["ipv4"] for s in subs}) == 6'
check "five child SAs that carry their packets" api wait 'len([s for s in child if s["encap"] and s["mode"] == "transport" and s["in_packets"] > 0 and s["out_packets"] > 0]) == 5'
all "router advertisements" 'ip route replace 10.100.0.0/16 dev ppp0; /t/v6.sh slaac'
all "ping in both families" "ping -c5 -i0.2 -W3 $WEB6 && ping -c5 -i0.2 -W3 $WEB4"
all "download, every octet right" "[ \$(wget -q -O - http://[$WEB6]/file | md5sum | cut -d\" \" -f1) = $WEB_SUM ]"
for u in alice eve carol dan dora; do check "the network reaches $u" in_ns "$CORE" ping -c2 -i0.2 -W3 "$(api value "user('$u')['ipv4']")"; done
say "hairpin"
v6_of() { g many "/t/ns.sh $1 ip -6 -br addr show ppp0 scope global" | grep -o '2001:[^/]*' | head -1; }
for pair in "c1 dan c4" "c4 dora c5" "c5 alice c1"; do set -- $pair
  check "$1 to $2" g many "/t/ns.sh $1 ping -c3 -i0.2 -W3 $(api value "user('$2')['ipv4']") && /t/ns.sh $1 ping -c3 -i0.2 -W3 $(v6_of "$3")"; done

say "both phases are rekeyed by all of them, under ping"
keys() { api value 'sorted(s["spi_in"] for s in child if s["encap"] and s["selected"]), sorted(s["spi_i"] for s in ike if s["version"] == 1)'; }
before=$(keys)
all "nothing is lost" "ping -i0.1 -W3 -c120 $WEB6 >/tmp/ping.out & sleep 1; /t/ike.sh rekey-child gw && sleep 1 && /t/ike.sh rekey-ike gw; s=\$?; wait; tail -n 2 /tmp/ping.out; [ \$s = 0 ] && grep -q \" 0% packet loss\" /tmp/ping.out"
check "all keys are others" waits 15 eval '[ -z "$(comm -12 <(grep -oE "[0-9a-fx]+" <<<"$before" | sort -u) <(keys | grep -oE "[0-9a-fx]+" | sort -u))" ]'
check "and the sessions are the same five" api check "$users"' and all(s["seconds"] > 20 for s in subs)'

say "one of the two at 192.168.1.5 leaves"
ALL=c4 all "it hangs up and deletes its SAs" '/t/l2tp.sh hangup; /t/l2tp.sh down && /t/ike.sh down gw'
check "the gateway has released it" api wait 'not user("dan") and len([s for s in ike if s["version"] == 1]) == 4'
ALL="c1 c2 c3 c5" all "the others lose nothing" "ping -c10 -i0.1 -W3 $WEB6 | grep \" 0% packet loss\" && ping -c10 -i0.1 -W3 $WEB4 | grep \" 0% packet loss\""
undisturbed
gateway_stop
finish
