#!/bin/bash
# IKEv1 (strongSwan, xl2tpd, pppd): PSK and certificate, rekey of both phases, delete, fragments, weak algorithms, DPD; IKEv2 beside it; what is refused
. "$(dirname "$0")/../lib.sh"
[ "$PEER" != linux ] || { echo "only with the gateway" >&2; exit 1; }
OFF=192.0.2.9
layout; pki
boot alice "$ACC" "br0:192.0.2.2/24,2001:db8:a::2/64"
# over IPv4 old algorithms are named, over IPv6 not, and the third listener has no IKEv1
ADDRESSES=", $OFF/24" LISTENERS="- { name: modern, address: $OFF }" LISTENER6=", ikev1: {}" \
  LISTENER=", ikev1: { weak: [sha1, modp1024, 3des] }" DPD=${DPD:-4s} DEAD=${DEAD:-12s} gateway
bystander; ready alice
must "charon" g alice 'FRAGMENT=576 /t/ike.sh start'
v1() { # REMOTE VARIABLES: an IKEv1 connection to it
  local l=192.0.2.2; case $1 in *:*) l=2001:db8:a::2;; esac
  g alice "/t/ike.sh down gw >/dev/null 2>&1; : >/tmp/sw/charon.log; IKE=1 RID=gw.example.net L=$l R=$1 PKI=/t/pki $2 /t/ike.sh add gw && T=${T:-20} /t/ike.sh up gw"; }
down() { g alice '/t/ike.sh down gw >/dev/null'; api wait 'not any(s["version"] == 1 for s in ike)'; }
ALICE="LID=alice@example.net PSK=$PSK_ALICE"
says() { g alice "grep -qE '$1' /tmp/sw/charon.log"; }

say "refused"
check "a listener without ikev1 does not" refused eval "T=4 v1 $OFF '$ALICE'"; check "   nor answers at all" refused says 'received packet'; check "   and counts it" api check 'c["ike.v1_off"] > 0'
check "aggressive mode is refused" refused eval "T=3 v1 $GW4 '$ALICE AGGRESSIVE=yes'"; check "   by a gateway that says nothing of itself" refused says 'AGGRESSIVE response'; check "   and counts it" api check 'c["ike.v1_aggressive"] > 0'
check "algorithms that are not named are refused" refused eval "T=6 v1 $GW6 '$ALICE P1=aes256-sha1-modp2048,3des-sha1-modp1024'"; check "   by NO_PROPOSAL_CHOSEN" says NO_PROP; check "   and counted" api check 'c["ike.v1_proposal"] > 0'
check "a wrong PSK is refused" refused eval "T=5 v1 $GW4 'LID=alice@example.net PSK=wrong'"; check "   and counted" api wait 'c["ike.auth_failed"] >= 1' 5
check "nothing is left" api wait 'len(ike) == 1' 40

say "PSK"
check "main mode and quick mode by PSK" v1 "$GW4" "$ALICE" || finish
ppp_up alice || finish
traffic alice
check "REST shows it" api check 'user("alice")["ike_id"] == "alice@example.net" and [(s["version"], s["weak"]) for s in ike if s["remote_id"] == "alice@example.net"] == [(1, [])]'
check "the bystander is IKEv2, on the same listener" api check '[s["version"] for s in ike if s["remote_id"] == "bob@example.net"] == [2] and {user("alice")["listener"], user("bob")["listener"]} == {"secure"}'
check "full-size packets in both families" g alice "ping -c2 -W3 -M do -s 1352 $WEB6 && ping -c2 -W3 -M do -s 1372 $WEB4"
keys() { api value '[s["spi_in"] for s in child if s["peer"] in [i["peer"] for i in ike if i["version"] == 1] and s["selected"]], [s["spi_i"] for s in ike if s["version"] == 1]'; }
of_v1() { api value "[s['$2'] for s in $1 if s['peer'] in [i['peer'] for i in ike if i['version'] == 1] and s.get('selected', True)][0]"; }
others() { [ -z "$(comm -12 <(grep -oE "[0-9a-fx]+" <<<"$before" | sort -u) <(keys | grep -oE "[0-9a-fx]+" | sort -u))" ] && [ "$(api value 'user("alice")["id"]')" = "$id" ]; }
id=$(api value 'user("alice")["id"]')
rekeys() { # DESCRIPTION COMMAND: under ping
  before=$(keys); g alice "setsid ping -i0.1 -W2 -w9 $WEB6 >/tmp/ping.out 2>&1 </dev/null & sleep 0.5"
  check "$1" eval "$2"; check "   all keys are others, the session is the same" waits 15 others
  check "   no ping is lost" g alice 'for i in $(seq 120); do grep -q transmitted /tmp/ping.out && break; sleep 0.1; done; tail -n 2 /tmp/ping.out; grep -q " 0% packet loss" /tmp/ping.out'; }
rekeys "client rekeys both phases" 'g alice "/t/ike.sh rekey-child gw && sleep 1 && /t/ike.sh rekey-ike gw"'
rekeys "gateway rekeys both phases" 'api rekey-child "$(of_v1 child spi_in)" && sleep 1 && api rekey-ike "$(of_v1 ike peer)"'
check "client closes PPP and L2TP and deletes its SAs" g alice '/t/l2tp.sh hangup; /t/l2tp.sh down && /t/ike.sh down gw'
check "gateway has released them" api wait 'not user("alice") and not any(s["version"] == 1 for s in ike) and len(child) == 1'
g alice /t/l2tp.sh stop

say "old algorithms, named on this listener"
weak() { # PHASE1 PHASE2 WEAK
  check "$1 with $2" v1 "$GW4" "$ALICE P1=$1 P2=$2"
  check "   REST says weak: $3" api check "[sorted(s['weak']) for s in ike if s['version'] == 1] == [sorted('$3'.split())]"
  check "   and the log" logged softwired -qE "weak.*${3##* }"; down; }
weak 3des-sha1-modp1024 aes256-sha1 "3des modp1024 sha1"
weak aes256-sha1-modp2048 aes128-sha1 sha1
weak aes256-sha1-ecp384 aes256-sha1 sha1
check "ESP by 3DES" v1 "$GW4" "$ALICE P2=3des-sha1" || finish
ppp_up alice || finish
check "   carries packets" g alice "/t/v6.sh slaac && ping -c3 -i0.2 -W3 $WEB6"
check "   and REST says what it is" api check '[s["weak"] for s in child if s["in_packets"] > 3 and s["weak"]] in ([["3des", "sha1"]], [["sha1", "3des"]])'
g alice '/t/l2tp.sh hangup; /t/l2tp.sh down; /t/l2tp.sh stop'; down

say "certificate, in fragments"
check "main mode by RSA signatures" v1 "$GW4" "AUTH=pubkey CERT=carol LID=carol@cert.example.net" || finish
check "its third message came in fragments" says 'splitting IKE message|sending.*fragment'
check "   and the answer to it, too" says 'received fragment'
USERVARS="USERN=carol PASSW=carolsecret" ppp_up alice || finish
check "REST shows the certificate's identity" api check 'user("carol")["ike_id"] == "carol@cert.example.net"'
check "ping" g alice "/t/v6.sh slaac && ping -c3 -i0.2 -W3 $WEB6"
say "the guest freezes"
kill -STOP "$(cat "$STATE/alice/pid")"
check "DPD: the gateway clears session and SAs" api wait 'not user("carol") and len(ike) == 1 and len(child) == 1' 40
kill -CONT "$(cat "$STATE/alice/pid")"
undisturbed
gateway_stop
finish
