#!/bin/bash
# ike.sh (in a guest) - strongSwan by charon-systemd and swanctl.
# usage: ike.sh start | add NAME | up NAME | phase1 NAME | down NAME | rekey-child NAME | rekey-ike NAME | list | stop
#        ike.sh cpus NAME | down-cpu NAME CPU     processors that have a child SA of their own (per_cpu_sas), and the end of one
# "add" reads the environment:
#   IKE        version: 2, 1 or 0 (either)   AGGRESSIVE=yes   (with "start": FRAGMENT  largest IKE message)
#   L R        local and remote address (R may be %any)      LID RID  identities
#   AUTH       psk | pubkey | eap-METHOD   PSK  the key      PKI CERT folder and name of the client's certificate
#   EAPID EAPPW AAAID  with EAP: who we are, our password, who the AAA server has to be;   CA  trusted instead of PKI's
#   P1 P2      IKE and ESP proposals MODE transport|tunnel   LTS RTS  traffic selectors
#   REKEY IKE_REKEY DPD              times                   ENCAP=yes forces UDP encapsulation, MOBIKE=yes
#   CHILD      more settings of the child SA
set -eu
S=/tmp/sw; mkdir -p $S/conf.d; export STRONGSWAN_CONF=$S/strongswan.conf SWANCTL_DIR=$S
sw() { swanctl "$@" --uri unix://$S/vici; }
case $1 in
start)
  modprobe -a xfrm_user esp4 esp6 2>/dev/null || true
  cat >$S/strongswan.conf <<X
charon {
  load_modular = no
  load = random drbg nonce aes sha1 sha2 hmac kdf gcm ccm ctr chapoly curve25519 gmp openssl pem pkcs1 pkcs8 x509 pubkey revocation constraints md5 mgf1 fips-prf eap-identity eap-md5 eap-mschapv2 eap-tls eap-ttls kernel-netlink socket-default vici counters
  install_routes = no
  retransmit_timeout = ${RETRANS:-2}
  retransmit_tries = 5
  keep_alive = ${KEEPALIVE:-20s}
  fragment_size = ${FRAGMENT:-1280}
  filelog { f { path = $S/charon.log
    default = 1
    ike = 2
    cfg = 2
    time_format = %T
    flush_line = yes } }
  syslog { daemon { default = -1 } auth { default = -1 } }
  journal { default = -1 }
  plugins { vici { socket = unix://$S/vici } openssl { load_legacy = yes } }
}
swanctl { load = random nonce pem pkcs1 pkcs8 x509 openssl }
X
  echo 'include conf.d/*.conf' >$S/swanctl.conf
  for d in x509 x509ca x509ocsp x509aa x509ac x509crl pubkey private rsa ecdsa bliss pkcs8 pkcs12; do mkdir -p $S/$d; done
  rm -f $S/vici; setsid charon-systemd </dev/null >$S/out 2>&1 & echo $! >$S/pid
  for _ in $(seq 300); do [ ! -S $S/vici ] || exit 0; kill -0 "$(cat $S/pid)" || exit 1; sleep 0.1; done; exit 1;;
add)
  N=$2; CERTS= SECRETS= AEAD=aes128gcm16-prfsha256-ecp256,; [ "${IKE:=2}" != 1 ] || AEAD=; [ -z "${PSK:-}" ] || SECRETS="secrets { ike-$N { secret = \"$PSK\" } }"
  : "${AUTH:=psk}"; RAUTH=$AUTH
  case $AUTH in psk) ;; *) cp "${CA:-$PKI/ca.pem}" $S/x509ca/ca.pem;; esac
  case $AUTH in eap*) RAUTH=pubkey EAP="${EAPID:+eap_id = $EAPID
    }${AAAID:+aaa_id = $AAAID}"; [ -z "${EAPPW:-}" ] || SECRETS="secrets { eap-$N { id = $EAPID
    secret = \"$EAPPW\" } }";; esac
  [ -z "${CERT:-}" ] || { cp "$PKI/$CERT.pem" $S/x509/; cp "$PKI/$CERT.key" $S/private/; CERTS="certs = $CERT.pem"; }
  cat >$S/conf.d/$N.conf <<X
connections { $N {
  version = $IKE
  aggressive = ${AGGRESSIVE:-no}
  local_addrs = ${L:-%any}
  remote_addrs = ${R:-%any}
  proposals = ${P1:-${AEAD}aes256-sha256-modp2048}
  encap = ${ENCAP:-no}
  mobike = ${MOBIKE:-no}
  rekey_time = ${IKE_REKEY:-4h}
  dpd_delay = ${DPD:-30s}
  local { auth = $AUTH
    ${LID:+id = $LID}
    ${EAP:-}
    $CERTS }
  remote { auth = $RAUTH
    ${RID:+id = $RID} }
  children { $N {
    mode = ${MODE:-transport}
    local_ts = ${LTS:-dynamic[udp/1701]}
    remote_ts = ${RTS:-dynamic[udp/1701]}
    esp_proposals = ${P2:-aes128gcm16,aes128-sha256}
    rekey_time = ${REKEY:-1h}
    ${CHILD:-}
  } }
} }
$SECRETS
X
  sw --load-all --noprompt >$S/load.log 2>&1 || { cat $S/load.log; exit 1; }; ! grep -iE 'fail|error' $S/load.log;;
up) sw --initiate --ike "$2" --child "$2" --timeout "${T:-30}";;
phase1) sw --initiate --ike "$2" --timeout "${T:-30}";;
down) sw --terminate --ike "$2" --timeout 20;;
rekey-child) sw --rekey --child "$2";;
rekey-ike) sw --rekey --ike "$2";;
cpus) sw --list-sas --ike "$2" | sed -n 's/.* cpu \([0-9]*\), INSTALLED.*/\1/p' | sort -u | xargs;;
down-cpu) for id in $(sw --list-sas --ike "$2" | sed -n "s/.*: #\([0-9]*\),.* cpu $3, INSTALLED.*/\1/p"); do sw --terminate --child-id "$id" --timeout 20; done;;
list) sw --list-sas; ip -s xfrm state | grep -E '^src|proto|encap' || true;;
stop) kill "$(cat $S/pid)";;
*) sed -n 2,12p "$0"; exit 2;;
esac
