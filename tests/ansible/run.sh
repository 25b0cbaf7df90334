#!/bin/bash
# run.sh - the Ansible collection: linted, its modules against a stand-in for the API, its example checked, and the real thing: a
# playbook on a Debian 12 that systemd has booted, with the real package. The first run changes, the second changes nothing, and
# what has drifted is put back. Needs root. BIN=DIR: binaries to package, target/release where absent.
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../package/lib.sh"
"$REPO/tests/setup/apt.sh" package
VENV=$OUT/venv
WANT="ansible-core==2.19.14 ansible-lint==26.10.1"
venv() {
  [ "$(cat "$VENV/want" 2>/dev/null)" = "$WANT" ] && return
  rm -rf "$VENV"; /usr/bin/python3 -m venv "$VENV" && "$VENV/bin/pip" install -q --disable-pip-version-check $WANT && echo "$WANT" >"$VENV/want"
}
must "Ansible is there" venv
export PATH=$VENV/bin:$PATH ANSIBLE_NOCOLOR=1 ANSIBLE_HOME=$STATE/home ANSIBLE_COLLECTIONS_PATH=$STATE/collections ANSIBLE_LOCALHOST_WARNING=0
mkdir -p "$STATE/collections/ansible_collections/softwire"
ln -s "$REPO/ansible" "$STATE/collections/ansible_collections/softwire/gateway"

lint() ( cd "$STATE/collections/ansible_collections/softwire/gateway" && ansible-lint --offline --nocolor --profile production )
modules() ( cd "$HERE" && PYTHONPATH=$STATE/collections PYTHONDONTWRITEBYTECODE=1 python -m unittest test_modules )
example() {
  ansible -i "$REPO/ansible/inventory/example" -c local -e ansible_python_interpreter=/usr/bin/python3 -m ansible.builtin.copy \
    -a "{\"dest\": \"$STATE/$1.yaml\", \"mode\": \"0600\", \"content\": \"{{ gateway_config | to_json }}\"}" "$1" && "$BIN/softwired" check -c "$STATE/$1.yaml"
}
check "ansible-lint finds nothing, by its strictest profile" lint
check "the modules do what they say" modules
for name in west east; do check "the example's $name is a valid configuration" example $name; done

must "the package is built" env BIN="$BIN" "$REPO/packaging/build.sh" "$STATE/gateway.deb"
must "the collection is built" ansible-galaxy collection build --output-path "$STATE" "$REPO/ansible"
must "a Debian 12 is there" base
must "it boots" boot --bind-ro="$VENV"

# ---- the machine: everything comes from the controller, which is the machine itself --------------------------
play=$ROOT/root/play; mkdir -p "$play"
cp "$STATE/gateway.deb" "$STATE"/softwire-gateway-*.tar.gz "$play/"
# It has no boot loader: a stand-in counts how often it is asked.
printf '#!/bin/sh\necho asked >>/root/grub-asked\n' >"$ROOT/usr/sbin/update-grub"; chmod 755 "$ROOT/usr/sbin/update-grub"
cat >"$play/hosts.yml" <<Y
gateways: { hosts: { gw: { ansible_connection: local, ansible_host: 127.0.0.1, ansible_python_interpreter: /usr/bin/python3 } } }
monitoring: { hosts: { gw: } }
Y
mkdir -p "$play/group_vars"
cat >"$play/group_vars/all.yml" <<Y
host_hugepages: $(cat /proc/sys/vm/nr_hugepages)
host_worker_cores: "1"
host_other_cores: "0"
gateway_package: /root/play/gateway.deb
gateway_config:
  dataplane: { eal: [--no-pci, --no-huge] }
  ports: [{ name: access, device: "net_null0,no-rx=1", zone: trusted, addresses: [192.0.2.1/24] }]
  listeners: [{ name: secure, address: 192.0.2.1 }]
  ike: { identity: gw.example.net, peers: [{ name: alice, id: alice@example.net, auth: psk, psk: a-key-that-nobody-sees }] }
  subscribers: [{ user: alice, secret: a-secret-that-nobody-sees }]
Y
COLLECTION=/usr/share/ansible/collections/ansible_collections/softwire/gateway
ansible_in() { inside env LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 "$VENV/bin/$@"; }
must "the collection is installed there" ansible_in ansible-galaxy collection install --offline -p /usr/share/ansible/collections \
  "/root/play/$(basename "$STATE"/softwire-gateway-*.tar.gz)"
playbook() { ansible_in ansible-playbook -i /root/play/hosts.yml "$@" "$COLLECTION/playbooks/site.yml" >"$STATE/last" 2>&1 || { cat "$STATE/last"; false; }; }
count() { sed -n "s/^gw .*[ =]$1=\([0-9]*\).*/\1/p" "$STATE/last"; }
changes() { playbook && { [ "$(count changed)" -gt 0 ] || { cat "$STATE/last"; false; }; }; }
same() { playbook && { [ "$(count changed)" = 0 ] || { grep -B3 '^changed' "$STATE/last"; false; }; }; }
api() { inside curl -sS --fail-with-body -m 5 --unix-socket /run/softwire-gateway/api.sock -H content-type:application/json "http://localhost/api/v1$1" "${@:2}"; }
said() { grep -qF -- "$1" "$STATE/last"; }

must "the first run makes a gateway of it" changes
check "softwired runs" inside systemctl -q is-active softwired
check "with the listener that was asked for" grep -q '"secure"' <(api /status)
check "its restart for the new port is done" inside ip -br addr show dev sw-access
check "grub was asked" inside test -s /root/grub-asked
check "Prometheus reads its metrics by a token" waits 60 sh -c "$(declare -f inside); LEADER=$LEADER; inside curl -s 'http://127.0.0.1:9090/api/v1/query?query=softwire_open_sessions' | grep -q instance"
check "the second run changes nothing" same

# ---- drift -----------------------------------------------------------------------------------------------------
drift() {
  api /config/subscribers/mallory -X PUT -d '{"user":"mallory","secret":"another-that-nobody-sees"}' &&
    api /config/subscribers/alice -X PATCH -d '{"secret":"another-that-nobody-sees"}' && inside sh -c 'systemctl disable softwired && rm /etc/sysctl.d/60-softwire-gateway.conf'
}
mallory() { api /config/subscribers/mallory; }
must "somebody changes the configuration by hand, and files" drift
check "a run in check mode" playbook --check --diff
check "says who would go" said /subscribers/mallory
check "and whose secret would be put back" said /subscribers/alice/secret
check "and does nothing" mallory
check "a run puts it back" changes
check "nobody else is served" refused mallory
check "the file is there again" inside test -s /etc/sysctl.d/60-softwire-gateway.conf
check "and the unit is enabled" inside systemctl -q is-enabled softwired
check "the next run changes nothing" same
check "no secret was said, or logged" refused sh -c "$(declare -f inside); LEADER=$LEADER; { cat '$STATE/last'; inside journalctl --no-pager; } | grep nobody-sees"
finish
