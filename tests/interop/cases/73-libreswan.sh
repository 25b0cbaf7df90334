#!/bin/bash
# libreswan as IKEv1 client, the way NetworkManager-l2tp uses it: per-peer PSK, its own proposals and NetworkManager's, SHA2-256 cut to 96 bits, rekey
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:192.0.2.2/24
PEERS="- { name: desk, id: desk.example.net, auth: psk, psk: desk-key-0123456789 }" \
  LISTENER=", ikev1: { weak: [sha1], sha256_96: true }" gateway; bystander; ready alice
must "pluto" g alice /t/libreswan.sh start
v1() { g alice "R=$GW4 L=192.0.2.2 $1 /t/libreswan.sh add gw && T=${T:-20} /t/libreswan.sh up gw"; }
ALICE="LID=alice@example.net RID=gw.example.net PSK=$PSK_ALICE" DESK="LID=@desk.example.net RID=gw.example.net PSK=desk-key-0123456789"
if [ "$PEER" != linux ]; then
  check "NetworkManager-l2tp's proposals" v1 "$DESK P1=aes256-sha2_256-modp2048,aes256-sha1-modp2048,aes256-sha1-ecp_384,3des-sha1-modp2048 P2=aes256-sha1,aes128-sha1,3des-sha1"
  check "   of them the best for the first phase, and for ESP SHA-1, which REST says is weak" api check '[s["weak"] for s in ike if s["version"] == 1] == [[]] and [s["weak"] for s in child if s["weak"]] == [["sha1"]]'
  check "it deletes its SAs" g alice '/t/libreswan.sh down gw'; check "   and they are gone" api wait 'len(ike) == 1 and len(child) == 1'
  check "a wrong PSK is refused" refused eval "T=6 v1 'LID=@desk.example.net RID=gw.example.net PSK=wrong'"; g alice '/t/libreswan.sh down gw >/dev/null'
  check "SHA2-256 cut to 96 bits, in UDP" v1 "$ALICE TRUNC=yes ENCAP=yes P2=aes256-sha2_256" || finish
  ppp_up alice || finish
  check "ping" g alice "/t/v6.sh slaac && ping -c3 -i0.2 -W3 $WEB6"
  check "no packet fails its check" api check 'c["drop.esp_integrity"] == 0 and any(s["encap"] and s["in_packets"] > 3 for s in child)'
  g alice '/t/l2tp.sh hangup; /t/l2tp.sh down; /t/l2tp.sh stop; /t/libreswan.sh down gw >/dev/null'
  check "gateway has released it" api wait 'not user("alice")'
fi
check "main mode and quick mode by PSK, libreswan's own proposals" v1 "$ALICE MORE=\$'salifetime=30s\\n  rekeymargin=15s\\n  rekeyfuzz=0%'" || finish
spi() { api value '[s["spi_in"] for s in child if s["weak"] and s["selected"]]'; }
before=$(spi)
ppp_up alice || finish
traffic alice
gw_check "REST shows it" api check 'user("alice")["ike_id"] == "alice@example.net" and [s["version"] for s in ike if s["remote_id"] == "alice@example.net"] == [1]'
check "libreswan rekeys the second phase by its lifetime, and no ping is lost" g alice "ping -i0.1 -W2 -c150 $WEB6 | tail -n 3 | tee /tmp/ping.out; grep -q ' 0% packet loss' /tmp/ping.out"
gw_check "the child SA is another" refused test "$before" = "$(spi)"
undisturbed
gateway_stop
finish
