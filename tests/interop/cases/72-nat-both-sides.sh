#!/bin/bash
# NAT before the gateway, and on both sides (IKEv1 and IKEv2): a client that floats late, keepalives, ports that change under traffic (H40)
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
#   c1 192.0.2.2, bob 192.0.2.20 ─────────────┐
#   c2 10.1.0.2, c3 10.1.0.3 ── NAT .254 ── br0 ── .100 site 10.2.0.254 ── 10.2.0.1 gateway
GW4=10.2.0.1 PUBLIC=192.0.2.100 SITE=$PFX-site
export NAT_SECONDS=6; ALL="c1 c2 c3"; layout; layout_nat
bridge "$ACC" brs; ip -n "$ACC" link set gw0 master brs
netns "$SITE"; veth "$SITE" wan "$ACC" site0; port "$ACC" br0 site0; veth "$SITE" lan "$ACC" site1; port "$ACC" brs site1
address "$SITE" wan $PUBLIC/24; address "$SITE" lan 10.2.0.254/24; masquerade "$SITE"
in_ns "$SITE" nft "table ip d { chain p { type nat hook prerouting priority -100; iifname wan udp dport { 500, 4500 } dnat to $GW4; }; }"
bridge "$NAT" bra; veth "$NAT" a0 "$ACC" a1; port "$NAT" bra a0; port "$ACC" br0 a1
SMP=2 CPU_VM=0-$CPU_GW boot many "$NAT" bra:192.0.2.2/24 brc:10.1.0.2/24 brc:10.1.0.3/24
env() { printf '%s\n' "L=$2 R=$PUBLIC RID=gw.example.net KEEPALIVE=2s $3" >"$STATE/share/$1.env"; }
env c1 192.0.2.2 "IKE=1 PSK=$PSK_ALICE LID=alice@example.net USERN=alice PASSW=wonderland"
env c2 10.1.0.2 "IKE=1 PSK=$PSK_EVE LID=eve@example.net USERN=eve PASSW=eavesdrop"
env c3 10.1.0.3 "IKE=2 AUTH=pubkey PKI=/t/pki CERT=carol LID=carol@cert.example.net USERN=carol PASSW=carolsecret"
MORE="routes: [{ to: 0.0.0.0/0, via: [10.2.0.254], port: access }]" LISTENER=", ikev1: {}" gateway
customer; bob "$CUST" $PUBLIC; ready many
must "three customers" g many '/t/ns.sh add c1 eth0 && /t/ns.sh add c2 eth1 10.1.0.1 && /t/ns.sh add c3 eth2 10.1.0.1'
forget() { ip -n "$NAT" link set wan down; ip -n "$NAT" link set wan up; } # see case 12
ports() { local i; for i in eve@example.net carol@cert.example.net; do api value "[s['remote'] for s in ike if s['remote_id'] == '$i'][0]"; done; }

all "charon" '/t/ike.sh start && /t/ike.sh add gw' || finish
ALL=c2 all "first phase alone (IKEv1, NAT on both sides)" '/t/ike.sh phase1 gw' || finish
say "the NAT forgets its ports"; forget
all "IKE SAs and child SAs, one with a second phase from another port" '/t/ike.sh up gw' || finish
check "all four see NAT" api check 'len([s for s in ike if s["natt"]]) == 4 and all(s["encap"] for s in child)'
check "two are IKEv1" api check 'len([s for s in ike if s["version"] == 1]) == 2'
all "L2TP and PPP" "/t/l2tp.sh lac $PUBLIC && /t/l2tp.sh wait" || finish
all "router advertisements" '/t/v6.sh slaac'
all "ping in both families" "ping -c5 -i0.2 -W3 $WEB6 && ping -c5 -i0.2 -W3 $WEB4"
all "download, every octet right" "[ \$(wget -q -O - http://[$WEB6]/file | md5sum | cut -d\" \" -f1) = $WEB_SUM ]"
check "the project's initiator, too" in_ns "$CUST" ping -c5 -i0.1 -W2 "$WEB6"

say "silence for longer than the NAT remembers"; before=$(ports); sleep 10
for u in alice eve carol; do check "the network still reaches $u" in_ns "$CORE" ping -c2 -i0.2 -W3 "$(api value "user('$u')['ipv4']")"; done
check "by the ports they had" eval '[ "$(ports)" = "$before" ]'
say "under traffic, the NAT forgets its ports"
g many "for c in c2 c3; do /t/ns.sh \$c 'setsid ping -i0.2 -W3 -w 8 $WEB6 >/tmp/ping.out 2>&1 &'; done; sleep 1"; forget; sleep 8
ALL="c2 c3" all "it goes on" 'grep "packets transmitted" /tmp/ping.out | awk "{exit !(\$4 >= \$1 - 10)}"'
check "from other ports" eval '[ -z "$(comm -12 <(sort <<<"$before") <(ports | sort))" ]'
ALL="c2 c3" all "ping after the move loses nothing" "ping -c10 -i0.1 -W3 $WEB6 | grep \" 0% packet loss\""
all "they hang up and delete their SAs" '/t/l2tp.sh hangup; /t/l2tp.sh down && /t/ike.sh down gw'
check "the gateway has released them" api wait 'len(ike) == 1 and len(subs) == 1'
undisturbed
gateway_stop
finish
