#!/bin/bash
# The same logins over RadSec (TLS 1.3), RADIUS/TCP and UDP over IPv6; certificates that are wrong; what the configuration refuses
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa; many_sources
P=$STATE/share/pki
for i in $(seq 20); do user "subscriber$i" "secretpw$i"; echo "subscriber$i secretpw$i" >>"$STATE/users20"; done
printf '%s\n' "subscriber1 wrong" "subscriber2 wrong" >>"$STATE/users20"; echo "subscriber1 secretpw1" >"$STATE/one"
export PPP_AUTH=pap
(cd "$STATE" && openssl req -x509 -newkey rsa:2048 -nodes -keyout "$P/rogue.key" -out "$P/rogue.pem" -days 2 -subj "/CN=radius.example.net" -addext subjectAltName=DNS:radius.example.net) 2>/dev/null
tls() { echo "{ name: r1, address: ${2:-$R1}, transport: tls, tls: { ca: $P/ca.pem, server_name: ${1:-radius.example.net} }, certificate: { chain: $P/nas.pem, key: $P/nas.key }, timeout: 1s, tries: 3 }"; }
plain() { echo "{ name: r1, address: \"$2\", transport: $1, secret: $SECRET, timeout: 1s, tries: 3 }"; }
refused_as() { MORE=$(SERVERS=$1 aaa_config) gateway_config "$STATE/no.yaml"; ! in_ns "$GW" "$BIN/softwired" check -c "$STATE/no.yaml" >"$STATE/no.txt" 2>&1 && grep -q "$2" "$STATE/no.txt"; }

story() { # NAME TRANSPORT SERVER
  say "$1"
  MORE=$(SERVERS=$3 aaa_config) gateway
  spawn "dump-$1" "$AAA" tcpdump --immediate-mode -Uni m0 -w "$STATE/$1.pcap" "port 1812 or port 1813 or port 2083"; sleep 0.5
  logins "$1" "$STATE/users20" 20; answers_are "$1" 20 2
  check "REST shows the transport" api check "server('r1')['transport'] == '$2' and server('r1')['alive'] and server('r1')['counters']['replies'] >= 22"
  leave "$1"
  check "every record was taken" api wait 'radius["records_taken"] >= 41 and radius["records_pending"] == 0' 10
  halt "dump-$1"
  gateway_stop
}
clear() { LC_ALL=C grep -aq 'subscriber1[0-9]' "$STATE/$1.pcap"; }

TCP=yes RADSEC=radius radius r1 "$R1" "$R6"
story radsec tls "$(tls)"
check "no user name is to be seen on the wire" refused clear radsec
check "it is TLS, of more than a handshake" [ "$(tcpdump -nr "$STATE/radsec.pcap" 'tcp port 2083 and greater 200' 2>/dev/null | grep -c .)" -gt 20 ]
story radsec6 tls "$(tls radius.example.net "\"$R6\"")"
story tcp tcp "$(plain tcp $R1)"
story udp6 udp "$(plain udp $R6)"
check "with UDP the name is, which shows that the search finds one" clear udp6

say "what is wrong is refused"
unheard() { # NAME SERVER: nobody gets in, and the log says why
  MORE=$(SERVERS=$2 aaa_config) gateway
  logins "$1" "$STATE/one" 1; answers_are "$1" 0 1; halt "$1"
  gateway_stop
}
unheard name "$(tls radius.elsewhere.example)"
check "a certificate with another name is refused" logged softwired "connection to a RADIUS server.*\(NotValidForName\|not valid for\)"
radius_stop r1; RADSEC=rogue radius r1 "$R1"
unheard rogue "$(tls)"
check "a certificate of another authority is refused" logged softwired "connection to a RADIUS server.*\(UnknownIssuer\|CaUsedAsEndEntity\)"
radius_stop r1; RADSEC=radius radius r1 "$R1"
unheard anonymous "$(tls | sed 's/certificate: {[^}]*}, //')"
check "the server refuses a gateway without a certificate" grep -qi "(TLS).*Error in error" "$LOGS/r1.log"
check "plain UDP to a server outside the management zone is refused (H10)" refused_as "{ name: r1, address: 203.0.113.9, secret: s }" H10
check "plain TCP likewise" refused_as "{ name: r1, address: 203.0.113.9, secret: s, transport: tcp }" H10
check "TLS without trust anchors" refused_as "{ name: r1, address: 203.0.113.9, transport: tls }" "tls.ca"
finish
