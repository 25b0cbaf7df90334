#!/bin/bash
# first-hour.sh - docs/first-hour.md, as a new operator goes through it, on a Debian 12 that systemd has booted: the package is
# installed, ports, a listener and a subscriber are added by swctl, a client comes, it is seen in the terminal and in a browser
# (screenshots in tests/view/out), and changes are taken back. Needs root. BIN=DIR: binaries to package.
. "$(dirname "$0")/lib.sh"
"$REPO/tests/setup/apt.sh" package view
must "the package is built" env BIN="$BIN" "$REPO/packaging/build.sh" "$STATE/gateway.deb"
must "a Debian 12 is there" base
must "it boots" boot

swctl() { inside swctl "$@"; }
# what asks for a secret is given one
secret() { swctl "${@:2}" - <<<"$1"; }
inner() { inside ip netns exec client "$@"; }

# ---- 1. the package runs -----------------------------------------------------------------------------------------
install() { cp "$STATE/gateway.deb" "$ROOT/var/tmp/" && inside dpkg -i /var/tmp/gateway.deb; }
must "the package is installed" install
must "it runs" waits 30 swctl show status
check "the log has the fingerprint of its certificate" waits 10 has fingerprint inside journalctl -u softwired -o cat

# ---- 2. ports ----------------------------------------------------------------------------------------------------
network() {
  inside sh -ec 'for n in client router; do ip netns add $n; ip -n $n link set lo up; done
    ip link add eth1 type veth peer name c0; ip link set c0 netns client; ip link add eth2 type veth peer name r0; ip link set r0 netns router
    for i in eth1 eth2; do ip link set $i up; sysctl -qw net.ipv6.conf.$i.disable_ipv6=1 net.ipv4.conf.$i.arp_ignore=8; done
    ip -n client addr add 192.0.2.20/24 dev c0; ip -n client link set c0 up
    ip -n router addr add 2001:db8:c::2/64 dev r0 nodad; ip -n router link set r0 up
    ip -n router route add 2001:db8:100::/48 via 2001:db8:c::1; ip -n router route add 2001:db8:f000::/36 via 2001:db8:c::1' &&
    nsenter -t "$LEADER" -n nft 'table ip quiet { chain in { type filter hook prerouting priority raw; iifname { "eth1", "eth2" } drop; }; }' &&
    for e in eth1 eth2; do nsenter -t "$LEADER" -n ethtool -K $e tx off tso off gso off gro off >/dev/null || return; done &&
    for e in "client c0" "router r0"; do nsenter "--net=/proc/$LEADER/root/run/netns/${e% *}" ethtool -K ${e#* } tx off tso off gso off gro off >/dev/null || return; done
}
must "there are two networks" network
must "port access" swctl set ports access '{device: "net_af_packet0,iface=eth1", zone: public, addresses: [192.0.2.1/24]}'
must "port core" swctl set ports core '{device: "net_af_packet1,iface=eth2", zone: trusted, addresses: ["2001:db8:c::1/64"]}'
check "the candidate differs" has net_af_packet0 swctl diff
check "a check says that ports wait for a restart" has "/ports" swctl check
must "it is committed" swctl commit --comment 'two ports'
must "the gateway restarts" inside systemctl restart softwired
must "it runs again" waits 30 swctl show status
check "the client reaches it" waits 10 inner ping -c1 -W1 192.0.2.1

# ---- 3. a listener and a subscriber ------------------------------------------------------------------------------
configure() {
  swctl set listeners secure address 192.0.2.1 && swctl set ike identity gw.example.net &&
    swctl set ike peers alice '{id: alice@example.net, auth: psk}' && secret a-key-that-nobody-sees set ike peers alice psk &&
    secret a-word-that-nobody-sees set subscribers alice secret &&
    swctl set pools '{ipv6: ["2001:db8:100::/48"], delegated: ["2001:db8:f000::/36"]}' &&
    swctl set routes ::/0 '{via: ["2001:db8:c::2"], port: core}'
}
must "a listener, a subscriber, pools, a route" configure
check "the candidate shows no secret" lacks nobody-sees swctl diff
must "it is committed, to be confirmed" swctl commit --confirm 5 --comment 'first listener, first subscriber'
must "it is confirmed" swctl confirm
check "it is in force without a restart" has secure swctl show config listeners

# ---- 4. a client -------------------------------------------------------------------------------------------------
cat >"$ROOT/root/alice.yaml" <<Y
local: 192.0.2.20
gateway: 192.0.2.1
tun: softwire0
ike: { id: alice@example.net, gateway_id: gw.example.net, psk: a-key-that-nobody-sees }
ppp: { user: alice, secret: a-word-that-nobody-sees }
ipv6: true
delegation: true
routes: ["::/0"]
Y
monitor() { inside timeout 60 swctl monitor >"$STATE/events" & MONITOR=$!; sleep 1; }
monitor
check "the client begins" inside systemd-run -q --collect --unit=alice ip netns exec client softwire-initiator -c /root/alice.yaml
check "it reaches IPv6 through the gateway" waits 30 inner ping -c1 -W1 2001:db8:c::2
check "a monitor has seen it come" waits 5 grep -q 'session.up.*alice' "$STATE/events"

# ---- 5. seeing it ------------------------------------------------------------------------------------------------
check "swctl shows the subscriber" has alice swctl show subscribers
check "its IKE SA" has alice@example.net swctl show ike
check "and its child SAs" has 192.0.2.20 swctl show child
id() { swctl show subscribers --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["items"][0]["id"])'; }
CAME=$(id)
check "and one of them in full" has 2001:db8:100: swctl show subscribers "$CAME"
trace() { inside timeout 30 swctl trace --session "$CAME" -c 4 >"$STATE/trace" & local p=$!; sleep 1; inner ping -c3 -i0.3 2001:db8:c::2; wait $p; grep -q esp-out "$STATE/trace" || { cat "$STATE/trace"; false; }; }
check "packets are followed through the gateway" trace
check "the live view shows what the API says" env "API=unix:/proc/$LEADER/root/run/softwire-gateway/api.sock" "$REPO/tests/view/run.sh"

# ---- 6. taking a change back -------------------------------------------------------------------------------------
must "a change that nobody confirms" swctl set ppp dns '["2001:db8:c::53"]'
must "is committed" swctl commit --confirm 5s --comment DNS
check "it is pending" has pending swctl show commits
check "it goes by itself" waits 15 has reverted swctl show commits
check "the monitor has seen that, too" waits 5 grep -q config.revert "$STATE/events"
kill "$MONITOR" 2>/dev/null; wait "$MONITOR" 2>/dev/null
dns() { swctl set ppp dns '["2001:db8:c::53"]' && swctl commit --comment DNS; }
check "another one is kept" dns
check "it is there" has 2001:db8:c::53 swctl show config ppp dns
before() { swctl show commits --json | python3 -c 'import json,sys; print([c["id"] for c in json.load(sys.stdin)["commits"] if c["state"] == "confirmed"][1])'; }
check "it is rolled back by its number" swctl rollback "$(before)" --comment 'no DNS'
check "and is there no more" refused has 2001:db8:c::53 swctl show config ppp dns
check "alice has noticed nothing" inner ping -c3 -i0.3 -W1 2001:db8:c::2
check "hers is the same session still" is "$CAME" id
check "no secret is in the log" lacks nobody-sees inside journalctl --no-pager
finish
