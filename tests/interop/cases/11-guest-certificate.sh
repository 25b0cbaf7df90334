#!/bin/bash
# Linux client with IKEv2 certificates: RSA, ECDSA, and a revoked one that is refused
. "$(dirname "$0")/../lib.sh"
layout; pki
boot carol "$ACC" br0:192.0.2.2/24
gateway; ready carol
VARS="AUTH=pubkey CERT=carol LID=carol@cert.example.net" ike_up carol 192.0.2.2 $GW4 || finish
USERVARS="USERN=carol PASSW=$([ "$PEER" = linux ] && echo wonderland || echo carolsecret)" ppp_up carol || finish
traffic carol
gw_check "REST shows the certificate's identity" api check 'user("carol")["ike_id"] == "carol@cert.example.net"'
g carol '/t/l2tp.sh stop; /t/ike.sh down gw >/dev/null; /t/ike.sh stop; sleep 1; rm -r /tmp/sw'
VARS="AUTH=pubkey CERT=dave LID=dave@cert.example.net" ike_up carol 192.0.2.2 $GW4
g carol '/t/ike.sh down gw >/dev/null; /t/ike.sh stop; sleep 1; rm -r /tmp/sw'
if [ "$PEER" != linux ]; then
  check "a revoked certificate is refused" g carol "/t/ike.sh start && AUTH=pubkey CERT=revoked PKI=/t/pki LID=revoked@cert.example.net RID=gw.example.net L=192.0.2.2 R=$GW4 /t/ike.sh add gw && ! /t/ike.sh up gw && grep -q AUTHENTICATION_FAILED /tmp/sw/charon.log"
  g carol '/t/ike.sh stop; sleep 1; rm -r /tmp/sw'
  check "another's identity is refused (H22)" g carol "/t/ike.sh start && AUTH=pubkey CERT=carol PKI=/t/pki LID=dave@cert.example.net RID=gw.example.net L=192.0.2.2 R=$GW4 /t/ike.sh add gw && ! /t/ike.sh up gw"
  gw_check "both are counted" api check 'c["ike.auth_failed"] >= 1'
fi
gateway_stop
finish
