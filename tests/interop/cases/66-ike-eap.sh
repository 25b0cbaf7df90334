#!/bin/bash
# IKEv2 with EAP (MSCHAPv2, TLS, TTLS) from strongSwan through RADIUS: who is refused, what PPP then demands, two users of one host
. "$(dirname "$0")/../lib.sh"; . "$INTEROP/radius.sh"
layout; layout_aaa
user ann@skip.example.net annspassword "Framed-IP-Address = 10.100.2.61" "Framed-IPv6-Prefix = 2001:db8:100:61::/64" "Class = 0x616e6e"
user ben@skip.example.net benspassword "Framed-IP-Address = 10.100.2.62"
user ann@same.example.net annspassword
user bob builder
user carol@cert.example.net - "Framed-IP-Address = 10.100.2.63"
radius r1 "$R1"
boot host "$ACC" br0:192.0.2.2/24
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$STATE/other.key" -out "$STATE/share/other.pem" -days 2 -subj "/CN=Other CA" 2>/dev/null
export PEERS='- { name: skip, id: "*@skip.example.net", auth: eap, ppp: skip }
    - { name: same, id: "*@same.example.net", auth: eap, ppp: same_user }'
MORE=$(aaa_config) gateway; ready host
up() { check "IKE SA by EAP-${2^^} as $3" eap host "$@"; }
through() { USERVARS="USERN=${2:-nobody} PASSW=${3:-none}" ppp_up host && check "PPP and RADIUS agree on $1" api check "user('$1')['state'] == 'open' and user('$1')['ike_id'] == '${IKE_ID:-$1}' and user('$1')['radius']"; }
down() { g host /t/l2tp.sh stop; eap_end host; check "all is gone" api wait 'not subs and not ike' 10; }

up gw mschapv2 ann@skip.example.net annspassword || finish
check "the gateway proved itself by its certificate" charon_says host "authentication of .gw.example.net. with (RSA|ECDSA)"
check "both ends used the key of EAP in AUTH" charon_says host "authentication of .gw.example.net. with EAP successful"
through ann@skip.example.net || finish
check "what RADIUS gave in IKE holds for PPP" api check 'user("ann@skip.example.net")["ipv4"] == "10.100.2.61" and user("ann@skip.example.net")["ipv6_prefix"] == "2001:db8:100:61::/64"'
traffic host
check "accounting has name and Class" records r1 'of("Start")[-1]["User-Name"] == "ann@skip.example.net" and of("Start")[-1]["Class"] == "0x616e6e"' 3

say "another user of the same host"
EAPVARS="LTS=dynamic[udp/1702]" check "a second IKE SA from the same address, as ben" eap host ben mschapv2 ben@skip.example.net benspassword
check "L2TP and PPP from another port" g host -t 60 "N=1 LPORT=1702 USERN=nobody /t/l2tp.sh lac $GW4 && N=1 /t/l2tp.sh wait"
check "each has a pair of SAs of its own (H41)" api check 'len(ike) == 2 and len(child) == 2 and len({c["remote_ts"] for c in child}) == 2 and len({c["peer"] for c in child}) == 2'
check "and a session with what is his" api check '(user("ann@skip.example.net")["ipv4"], user("ben@skip.example.net")["ipv4"]) == ("10.100.2.61", "10.100.2.62")'
packets=$(api value '{sa["peer"]: sa["in_packets"] for sa in child}')
check "both pass traffic" g host "ping -c3 -i0.2 -W3 -I ppp0 $WEB4 && ip route replace $WEB4 dev ppp1 && ping -c3 -i0.2 -W3 -I ppp1 $WEB4"
check "each in his own SA" api check "all(sa['in_packets'] >= $packets[sa['peer']] + 3 for sa in child)"
g host 'N=1 /t/l2tp.sh hangup; sleep 1; kill "$(cat /run/xl2tpd1.pid)"; /t/ike.sh down ben >/dev/null'
check "ben leaves, ann stays" api wait 'len(ike) == 1 and user("ann@skip.example.net") and not user("ben@skip.example.net")' 10
down

say "other methods"
EAPVARS="CERT=carol LID=card@skip.example.net" up gw tls carol@cert.example.net
check "the client checked the AAA server's certificate" charon_says host "radius.example.net"
IKE_ID=card@skip.example.net through carol@cert.example.net; down
up gw ttls ann@skip.example.net annspassword; through ann@skip.example.net; down

say "same_user: PPP authenticates, too"
up gw mschapv2 ann@same.example.net annspassword
g host "USERN=bob PASSW=builder /t/l2tp.sh lac $GW4"
check "as another it is refused (H23)" waits 20 logged softwired 'reject.*IKE has authenticated .*ann@same.example.net'
g host /t/l2tp.sh stop
through ann@same.example.net ann@same.example.net annspassword; down

say "refused"
no() { check "$1" refused eap host gw "${@:2}"; check "   $SAYS" charon_says host "$SAYS"; eap_end host; }
SAYS="EAP_FAILURE|EAP.*failed" no "a wrong password" mschapv2 ann@skip.example.net wrong
SAYS="EAP_FAILURE|EAP.*failed" no "a wrong password in the tunnel" ttls ann@skip.example.net wrong
SAYS="EAP_FAILURE|EAP.*failed" no "an unknown user" mschapv2 zoe@skip.example.net secret
SAYS="AUTHENTICATION_FAILED" no "an identity of no PAD entry" mschapv2 ann@elsewhere.example annspassword
EAPVARS="CA=/t/other.pem" SAYS="no trusted|no issuer certificate" no "a concentrator of another authority is refused by the client" mschapv2 ann@skip.example.net annspassword
EAPVARS="AAAID=rogue.example.net" SAYS="rogue.example.net" no "so is an AAA server of another name" ttls ann@skip.example.net annspassword
check "the gateway counts and logs them" eval 'api check "c[\"ike.auth_failed\"] >= 5" && [ "$(logged softwired -c "reject.*rejected by r1")" -ge 3 ]'
gateway_stop

say "an AAA hop that changes the keys"
meddler msk 1822 "$R1:1812" msk
SERVERS="{ name: r1, address: $R1, secret: $SECRET, auth_port: 1822, timeout: 3s }" MORE=$(aaa_config) gateway
SAYS="AUTHENTICATION_FAILED" no "a wrong MSK does not get through AUTH (H42)" mschapv2 ann@skip.example.net annspassword
check "it was EAP that succeeded, and the keys that were wrong" eval 'grep -q "Accept is flipped" "$LOGS/msk.log" && tail -n 3 "$LOGS/r1.log" | grep -q "Login OK"'
check "no session, no SA" api wait 'not ike and not subs' 10
gateway_stop
finish
