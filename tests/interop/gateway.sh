# gateway.sh - sourced by lib.sh: the configuration, start and stop of the two programs under test. The only place that
# knows their configuration files and command lines.
PSK_ALICE=alice-key-0123456789 PSK_BOB=bob-key-0123456789 PSK_EVE=eve-key-0123456789
BIN=${BIN:-${CARGO_TARGET_DIR:-$REPO/target}/release}

# api_config NAME: where the API of that gateway is: by TLS in its namespace, and at a unix socket
api_config() { echo "api: { listen: \"127.0.0.1:8443\", socket: $STATE/$1-api/sock, state: $STATE/$1-api }"; }
# api_of NAME COMMAND...: REST and metrics of that gateway, see gw.py; with the reference peer there is nothing to ask
api_of() { local name=$1; shift; [ "$PEER" = linux ] || API=$STATE/$name-api/sock /usr/bin/python3 "$INTEROP/gw.py" "$@"; }
api() { api_of gw "$@"; }
# rest NAME PATH: what that gateway answers
rest() { curl -sS -m 5 --unix-socket "$STATE/$1-api/sock" "http://localhost$2"; }
# tls_only NAMESPACE: the gateway there speaks TLS on its TCP port, to whoever proves who it is, and no plain HTTP
tls_only() {
  local url=127.0.0.1:8443/api/v1
  [ "$(in_ns "$1" curl -sSk -m 5 -o /dev/null -w '%{http_code}' "https://$url/status")" = 401 ] &&
    ! in_ns "$1" curl -sS -m 5 --http0.9 "http://$url/status" | grep -aq HTTP
}

# gateway_config FILE: times, limits, workers and drivers from the environment, for cases that want others
gateway_config() {
  cat >"$1" <<Y
dataplane:
  workers: [${WORKERS:-$CPU_GW}]
  poll: idle
  eal: [--no-pci, $("$REPO/tests/setup/hugepages.sh" 192)]
ports:
  - { name: access, device: "${DRIVER:-net_af_packet}0,iface=g0${DEVARGS:-}", zone: ${ACCESS_ZONE:-public}, addresses: [$GW4/24, "$GW6/64"${ADDRESSES:-}] }
  - { name: core, device: "${DRIVER:-net_af_packet}1,iface=g1${DEVARGS:-}", zone: trusted, addresses: [198.51.100.1/24, "2001:db8:c::1/64"] }
listeners:
  - { name: secure, address: $GW4${LISTENER:-} }
  - { name: secure6, address: "$GW6"${LISTENER6-${LISTENER:-}} }
  ${LISTENERS:-}
ike:
  identity: gw.example.net
  certificate: { chain: $STATE/share/pki/gw.pem, key: $STATE/share/pki/gw.key }
  peers:
    - { name: alice, id: alice@example.net, auth: psk, psk: $PSK_ALICE }
    - { name: bob, id: bob@example.net, auth: psk, psk: $PSK_BOB }
    - { name: eve, id: eve@example.net, auth: psk, psk: $PSK_EVE }
    - { name: staff, id: "*@cert.example.net", auth: certificate, ca: $STATE/share/pki/ca.pem, crl: [$STATE/share/pki/crl.pem] }
    ${PEERS:-}
  rekey: ${IKE_REKEY:-4h}
  child_rekey: ${CHILD_REKEY:-1h}
  dpd: ${DPD:-30s}
  dead_after: ${DEAD:-30s}
l2tp: { host_name: gw.example.net, hello: ${HELLO:-30s}, dead_after: ${L2TP_DEAD:-83s}${TUNNEL_AUTH:-} }
ppp: { authenticate: [${PPP_AUTH:-chap}], name: gw.example.net, local_ipv4: 10.100.0.1 }
pools: { ipv4: [10.100.0.0/24], ipv6: ["2001:db8:100::/48"], delegated: ["2001:db8:f000::/36"]${POOLS:-} }
subscribers:
  - { user: alice, secret: wonderland, ike_id: alice@example.net }
  - { user: bob, secret: builder, ipv4: 10.100.1.2, ipv6_prefix: "2001:db8:100:b0b::/64" }
  - { user: eve, secret: eavesdrop }
  - { user: carol, secret: carolsecret }
  ${SUBSCRIBERS:-}
$(api_config gw)
${MORE:-}
Y
}
gateway() {
  [ "$PEER" != linux ] || { reference; return; }
  pki; gateway_config "$STATE/gw.yaml"
  must "softwired accepts the configuration" in_ns "$GW" "$BIN/softwired" check -c "$STATE/gw.yaml"
  spawn softwired "$GW" "$BIN/softwired" -c "$STATE/gw.yaml"
  must "softwired is up" api wait 'st["sessions"] == 0' 30
  check "plain HTTP is refused" tls_only "$GW"
}
gateway_stop() { [ "$PEER" = linux ] || check "softwired ends when asked" halted softwired; }
# a program that is asked to end does so itself (checks run in a subshell, which cannot ask for its exit status)
halted() {
  local p=${PID[$1]}; kill -TERM "$p"
  for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || return 0; sleep 0.1; done
  return 1
}
# drops REASON: packets were dropped for it
drops() { api wait "c['drop.$1'] > 0" 5; }

# gw_check ...: a check of what only the gateway has, such as REST
gw_check() { [ "$PEER" = linux ] || check "$@"; }

# the reference peer: a guest where the gateway would be, to try the clients and the network alone (run.sh --reference)
PEERVM=peer
reference() {
  pki; ip -n "$GW" link add brg0 type bridge; ip -n "$GW" link add brg1 type bridge; ip -n "$GW" link set brg0 up; ip -n "$GW" link set brg1 up
  in_ns "$GW" nft flush ruleset; port "$GW" brg0 g0; port "$GW" brg1 g1
  boot $PEERVM "$GW" "brg0:$GW4/24,$GW6/64" "brg1:198.51.100.1/24,2001:db8:c::1/64"; ready $PEERVM
  local vars="AUTH=psk PSK=$PSK_ALICE"; [ "$CASE" != 11-guest-certificate ] || vars="AUTH=pubkey PKI=/t/pki CERT=gw"
  local lts='dynamic[udp/1701]'
  must "reference peer" g $PEERVM "/t/ike.sh start && $vars IKE=0 P2=aes128gcm16,aes128-sha256,aes128-sha1 LID=gw.example.net LTS='$lts' RTS='dynamic[udp]' /t/ike.sh add l2tp && USERN=\* PASSW=wonderland /t/l2tp.sh lns ${REFERENCE_LNS:-$GW4} && ${REFERENCE_MORE:-true}"
}

# initiator NAME NAMESPACE GATEWAY IDENTITY PSK USER SECRET: the project's own softwire initiator, with a TUN called NAME
# and the core's networks routed into it
initiator() {
  local source; source=$(ip -n "$2" -o route get "$3" | sed -n 's/.* src \([^ ]*\).*/\1/p')
  cat >"$STATE/$1.yaml" <<Y
local: "$source"
gateway: "$3"
tun: $1
ike: { id: $4, gateway_id: gw.example.net, ${IKE_AUTH:-psk: $5} }
ppp: { user: $6, secret: $7 }
ipv4: true
ipv6: true
delegation: true
routes: [198.51.100.0/24, "2001:db8:c::/64"]
Y
  spawn "$1" "$2" "$BIN/softwire-initiator" -c "$STATE/$1.yaml"
}
# initiator_up NAME NAMESPACE ...: and waits for its addresses
initiator_up() { initiator "$@"; check "initiator $1 is up, with IPv6 and IPv4" waits 30 has_addresses "$2" "$1"; }
# bob [NAMESPACE [GATEWAY]]: the subscriber of that name, by the project's initiator
bob() { initiator_up bob "${1:-$CUST}" "${2:-$GW4}" bob@example.net "$PSK_BOB" bob builder; }
has_addresses() { ip -n "$1" -6 addr show dev "$2" scope global 2>/dev/null | grep -q inet6 && ip -n "$1" -4 addr show dev "$2" | grep -q inet; }
# waits SECONDS COMMAND...
waits() { local n=$(( $1 * 5 )); shift; while [ $n -gt 0 ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; n=$((n-1)); done; "$@"; }

# a bystander: bob, who must not notice what the case does to others
bystander() { [ "$PEER" = linux ] || { customer; bob; }; }
undisturbed() { [ "$PEER" = linux ] || check "another subscriber is not disturbed" in_ns "$CUST" ping -c5 -i0.1 -W2 "$WEB6"; }
