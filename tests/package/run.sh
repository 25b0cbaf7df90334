#!/bin/bash
# run.sh - the Debian package, on a Debian 12 that systemd has booted: built from the binaries in $BIN, installed, started,
# watched, upgraded, removed, purged. Needs root. BIN=DIR: binaries to package, target/release where absent.
. "$(dirname "$0")/lib.sh"
"$REPO/tests/setup/apt.sh" package

must "the package is built" env BIN="$BIN" "$REPO/packaging/build.sh" "$STATE/"
DEB=$(echo "$STATE"/softwire-gateway_*.deb)
check "lintian finds nothing" lintian --allow-root --fail-on error,warning,info "$DEB"
check "the alert rules are PromQL" promtool check rules "$REPO/packaging/prometheus/alerts.yaml"
must "a Debian 12 is there" base
must "it boots" boot

# ---- installed -------------------------------------------------------------------------------------------------
YAML=/etc/softwire-gateway/softwired.yaml
DEFAULT=/usr/share/softwire-gateway/softwired.yaml
SOCKET=/run/softwire-gateway/api.sock
install() { cp "$1" "$ROOT/var/tmp/new.deb" && inside dpkg -i /var/tmp/new.deb; }
show() { inside systemctl show -P "$1" softwired; }
active() { [ "$(show ActiveState)" = active ]; }
mode() { is "$1" inside stat -c '%U:%G %a' "$2"; }
api() { inside curl -sS --fail-with-body -m 5 --unix-socket $SOCKET "http://localhost$1"; }
healthy() { api /api/v1/health && api /api/v1/ready; }

must "it installs" install "$DEB"
said() { inside journalctl -u softwired -o cat --no-pager | grep -qF -- "$1"; }
must "systemd hears that it is ready" waits 30 active
check "it is enabled" inside systemctl -q is-enabled softwired
check "the API answers root over its socket" waits 10 healthy
check "the default configuration is valid for the gateway's user" inside setpriv --reuid=softwire --regid=softwire --clear-groups softwired check -c $YAML
check "which dpkg does not call a conffile" is "" inside dpkg-query -W -f '${Conffiles}' softwire-gateway
check "the configuration is the gateway's alone" mode "softwire:softwire 600" $YAML
check "so is its folder" mode "softwire:softwire 750" /etc/softwire-gateway
check "so is its state" mode "softwire:softwire 700" /var/lib/softwire-gateway
check "so is the socket" mode "softwire:softwire 600" $SOCKET
for f in /lib/udev/rules.d/60-softwire-gateway.rules /usr/share/man/man8/softwired.8.gz /usr/share/man/man5/softwired.yaml.5.gz /usr/share/man/man1/swctl.1.gz \
  /usr/share/bash-completion/completions/swctl /usr/share/zsh/vendor-completions/_swctl /usr/share/fish/vendor_completions.d/swctl.fish \
  /usr/share/softwire-gateway/softwired.yaml /usr/share/softwire-gateway/grafana/softwire-gateway.json /usr/share/softwire-gateway/prometheus/alerts.yaml; do
  check "$f" test -s "$ROOT$f"
done
check "swctl speaks to it" inside swctl show status

# ---- confined --------------------------------------------------------------------------------------------------
status() { inside sh -c "grep -m1 '^$1:' /proc/\$(systemctl show -P MainPID softwired)/status" | tr -d ' \t' | cut -d: -f2; }
check "systemd finds nothing wrong with the unit" inside systemd-analyze verify --man=no /lib/systemd/system/softwired.service
check "its exposure is at most 2.5" inside systemd-analyze security --threshold=25 --no-pager softwired
check "it has three capabilities: net_admin, net_raw, net_bind_service" is 0000000000003400 status CapEff
check "and can get no more" is 0000000000003400 status CapBnd
check "its system calls are filtered" is 2 status Seccomp
check "the sysctls of its TAP are written all the same" is 0 inside cat /proc/sys/net/ipv6/conf/sw-core/accept_dad

# ---- at work: a real port and, where there are some, huge pages ------------------------------------------------
eal=$("$REPO/tests/setup/hugepages.sh" 128 2>/dev/null)
inside sh -ec 'ip netns add host; ip link add g0 type veth peer name h0; sysctl -qw net.ipv6.conf.g0.disable_ipv6=1 net.ipv4.conf.g0.arp_ignore=8'
# Frames are read by a program, so they must be finished.
for e in g0 h0; do nsenter -t "$LEADER" -n ethtool -K $e tx off tso off gso off gro off >/dev/null; done
inside sh -ec 'ip link set g0 up; ip link set h0 netns host; ip -n host addr add 198.51.100.2/24 dev h0; ip -n host link set h0 up'
configure() {
  cat >"$ROOT$YAML" <<Y
dataplane: { eal: [--no-pci, $eal] }
ports: [{ name: access, device: "net_af_packet0,iface=g0", zone: trusted, addresses: [198.51.100.1/24, 198.51.100.3/24] }]
listeners: [{ name: secure, address: 198.51.100.1 }, { name: open, address: 198.51.100.3, protection: none }]
ike: { identity: gw.example.net, peers: [{ name: alice, id: alice@example.net, auth: psk, psk: a-key-that-nobody-sees }] }
ppp: { local_ipv4: 10.100.0.1 }
pools: { ipv4: [10.100.0.0/24] }
subscribers: [{ user: alice, secret: a-secret-that-nobody-sees }]
Y
  cat >"$ROOT/root/alice.yaml" <<Y
local: 198.51.100.2
gateway: 198.51.100.1
ike: { id: alice@example.net, gateway_id: gw.example.net, psk: a-key-that-nobody-sees }
ppp: { user: alice, secret: a-secret-that-nobody-sees }
ipv4: true
Y
  sed '/^ike:/d; s/^gateway:.*/gateway: 198.51.100.3/' "$ROOT/root/alice.yaml" >"$ROOT/root/plain.yaml"
}
# subscriber UNIT, told UNIT TEXT: a client by IKE (alice), or without (plain)
subscriber() { inside systemd-run -q --collect --unit="$1" ip netns exec host softwire-initiator -c "/root/$1.yaml"; }
told() { has "$2" inside journalctl -u "$1" -o cat --no-pager; }
configure
check "it starts on an AF_PACKET port with $eal" inside systemctl restart softwired
check "and answers there" waits 10 inside ip netns exec host ping -c1 -W1 198.51.100.1
# udev gives a TAP an address of its own, where it is slow to see that it has one.
port_mac() { inside swctl --json show ports | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["mac"])'; }
check "its TAP has the port's Ethernet address" waits 5 is "$(port_mac)" inside cat /sys/class/net/sw-access/address
must "another" inside ip link set sw-access address 02:00:5e:10:00:01
check "does not stay" waits 5 is "$(port_mac)" inside cat /sys/class/net/sw-access/address
check "and why is in the log" waits 5 said "the Ethernet address of a TAP was changed"
inside ip -n host neigh flush dev h0
check "and it still answers" waits 10 inside ip netns exec host ping -c1 -W1 198.51.100.1
received() { inside swctl --json show ports | python3 -c 'import json, sys; p, = json.load(sys.stdin); sys.exit(not (p["name"] == "access" and p["up"] and p["rx_packets"] and p["tx_packets"]))'; }
check "its port has a link, and has counted the packets" waits 5 received
check "the configuration has kept its owner and mode" mode "softwire:softwire 600" $YAML

inside sh -ec 'mkdir -p /run/systemd/system/softwired.service.d; printf "[Service]\nWatchdogSec=4\nTimeoutAbortSec=1\n" >/run/systemd/system/softwired.service.d/test.conf
  systemctl daemon-reload; systemctl restart softwired'
before=$(show MainPID)
sleep 6
check "the watchdog leaves it alone while it is well" is "$before" show MainPID
inside systemctl kill -s STOP softwired
restarted() { active && [ "$(show NRestarts)" -ge 1 ]; }
check "a gateway that hangs is started anew" waits 40 restarted
inside sh -ec 'rm -r /run/systemd/system/softwired.service.d; systemctl daemon-reload; systemctl restart softwired'

# ---- upgraded --------------------------------------------------------------------------------------------------
next() {
  dpkg-deb -R "$DEB" "$STATE/next" && sed -i 's/^Version: .*/&+next/' "$STATE/next/DEBIAN/control" &&
    echo '# the next version' >>"$STATE/next$DEFAULT" && dpkg-deb -b "$STATE/next" "$STATE/next.deb"
}
must "a next version, with another default configuration" next
bearer() { inside curl -sSk --fail-with-body -m 5 -H "Authorization: Bearer $TOKEN" https://127.0.0.1:8443/api/v1/status; }
commit() { inside swctl set ppp dns '["192.0.2.53"]' && inside swctl commit --comment 'before the upgrade'; }
TOKEN=$(inside swctl token create kept)
must "a token is made, and good" bearer
must "the configuration is committed" commit
before=$(show MainPID) fingerprint=$(certificate); cp "$ROOT$YAML" "$STATE/before.yaml"
must "the API has a certificate" test -n "$fingerprint"
check "a subscriber comes" subscriber plain
check "and gets its address" waits 30 told plain "ipv4 up address=10.100.0."
# Who is asked has no answer.
upgrade() { cp "$STATE/next.deb" "$ROOT/var/tmp/" && inside dpkg -i /var/tmp/next.deb </dev/null; }
check "it upgrades, and asks nothing" upgrade
check "the gateway runs on meanwhile" is "$before" show MainPID
check "the configuration stays" cmp "$STATE/before.yaml" "$ROOT$YAML"
check "and nothing is put beside it" is softwired.yaml inside ls -A /etc/softwire-gateway
check "the new default is there" inside grep -q 'the next version' $DEFAULT
check "its owner and mode, too" mode "softwire:softwire 600" $YAML
check "a drain waits for its end" inside swctl drain --teardown --within 2s --wait
check "and nobody is left then" has drained inside swctl show drain
check "the subscriber was told" waits 2 told plain "down reason="
check "the new version starts" inside systemctl restart softwired
check "and answers" waits 10 inside ip netns exec host ping -c1 -W1 198.51.100.1
check "the token is still known" has kept inside swctl token list
check "and good" bearer
check "the history has the commit" has 'before the upgrade' inside swctl show commits
check "the commit is in force" has 192.0.2.53 inside swctl show config ppp dns
check "the certificate is the same" is "$fingerprint" certificate

# ---- stopped, removed, purged ----------------------------------------------------------------------------------
check "a subscriber comes" subscriber alice
check "and gets its address" waits 30 told alice "ipv4 up address=10.100.0."
check "the gateway stops" inside systemctl stop softwired
check "having told its subscriber" waits 5 told alice "down reason="
check "in order, not by force" is success show Result
check "having said so" said "softwired is down"
check "no secret is in the log" lacks nobody-sees inside journalctl --no-pager
inside systemctl start softwired
check "it is removed" inside dpkg -r softwire-gateway
check "nothing of it runs" refused inside pgrep -x softwired
check "the configuration stays until it is purged" cmp "$STATE/before.yaml" "$ROOT$YAML"
check "it comes back" install "$STATE/next.deb"
check "and runs" waits 30 active
check "with the configuration from before" cmp "$STATE/before.yaml" "$ROOT$YAML"
check "it is purged" inside dpkg -P softwire-gateway
left() { find "$ROOT"/{etc,usr,lib,var/lib} \( -iname '*softwire*' -o -iname 'swctl*' \) -not -path '*/dpkg/*' -not -path '*/systemd/deb-systemd-helper*'; }
check "and nothing is left" is "" left
finish
