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
# It has no boot loader, no PCI devices, no kernel modules and no Grafana: stand-ins note what they are asked.
stand_in() { rm -f "$ROOT/usr/sbin/$1"; { echo '#!/bin/sh'; cat; } >"$ROOT/usr/sbin/$1"; chmod 755 "$ROOT/usr/sbin/$1"; }
stand_in update-grub <<<'echo asked >>/root/grub-asked'
stand_in driverctl <<'S'
[ "$1" != list-overrides ] || exec cat /root/overrides
echo "$*" >>/root/driverctl-asked; echo "$2 $3" >>/root/overrides
S
touch "$ROOT/root/overrides"
# The module appears, as the kernel shows it.
stand_in modprobe <<<'mkdir -p /run/modules/vfio_pci && mount -t overlay -o lowerdir=/run/modules:/sys/module modules /sys/module'
mkdir -p "$ROOT/etc/grafana/provisioning/dashboards"
printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo started >>/root/grafana-started"\n' >"$ROOT/etc/systemd/system/grafana-server.service"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gw.example.net -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$play/api.key" -out "$play/api.pem" 2>/dev/null
cat >"$play/hosts.yml" <<Y
gateways: { hosts: { gw: { ansible_connection: local, ansible_host: 127.0.0.1, ansible_python_interpreter: /usr/bin/python3 } } }
monitoring: { hosts: { gw: } }
Y
mkdir -p "$play/group_vars"
cat >"$play/group_vars/all.yml" <<Y
host_hugepages: $(cat /proc/sys/vm/nr_hugepages)
host_worker_cores: "1"
host_other_cores: "0"
host_ports: ["0000:03:00.0", "0000:03:00.1"]
monitoring_ca: /root/play/api.pem
monitoring_grafana: true
gateway_package: /root/play/gateway.deb
gateway_files: [{ src: /root/play/api.pem, dest: api.pem }, { src: /root/play/api.key, dest: api.key }]
gateway_config:
  api: { certificate: /etc/softwire-gateway/api.pem, key: /etc/softwire-gateway/api.key }
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
playbook() {
  local rc=0
  ansible_in ansible-playbook -i /root/play/hosts.yml "$@" "$COLLECTION/playbooks/site.yml" >"$STATE/last" 2>&1 || { rc=$?; cat "$STATE/last"; }
  cat "$STATE/last" >>"$STATE/all"; return $rc
}
count() { sed -n "s/^gw .*[ =]$1=\([0-9]*\).*/\1/p" "$STATE/last"; }
changes() { playbook && { [ "$(count changed)" -gt 0 ] || { cat "$STATE/last"; false; }; }; }
same() { playbook && { [ "$(count changed)" = 0 ] || { grep -B3 '^changed' "$STATE/last"; false; }; }; }
api() { inside curl -sS --fail-with-body -m 5 --unix-socket /run/softwire-gateway/api.sock -H content-type:application/json "http://localhost/api/v1$1" "${@:2}"; }
said() { grep -qF -- "$1" "$STATE/last"; }

must "the first run makes a gateway of it" changes
check "softwired runs" inside systemctl -q is-active softwired
check "with the listener that was asked for" grep -q '"secure"' <(api /status)
check "its restart for the new port is done" inside ip -br addr show dev sw-access
mode() { is "$1" inside stat -c '%U:%G %a' "$2"; }
for f in pem key; do
  check "api.$f is there" cmp "$play/api.$f" "$ROOT/etc/softwire-gateway/api.$f"
  check "and the gateway's alone" mode "softwire:softwire 600" /etc/softwire-gateway/api.$f
done
check "the API's certificate is that one" is "$(openssl x509 -in "$play/api.pem" -noout -fingerprint -sha256)" certificate
check "Prometheus reads its metrics by a token, and believes no other certificate" waits 60 has instance inside curl -s 'http://127.0.0.1:9090/api/v1/query?query=softwire_open_sessions'
check "the dashboard is Grafana's" cmp "$REPO/packaging/grafana/softwire-gateway.json" "$ROOT/var/lib/grafana/dashboards/softwire-gateway.json"
provisioned() { ansible_in python -c 'import sys, yaml; print(*(p["type"] + " " + p["options"]["path"] for p in yaml.safe_load(sys.stdin)["providers"]))' <"$ROOT/etc/grafana/provisioning/dashboards/softwire-gateway.yaml"; }
check "which is told where it is" is "file /var/lib/grafana/dashboards" provisioned

# the machine as the role `host` leaves it
grub() { inside sh -c 'GRUB_CMDLINE_LINUX_DEFAULT=quiet; . /etc/default/grub.d/60-softwire-gateway.cfg; echo "$GRUB_CMDLINE_LINUX_DEFAULT"'; }
KERNEL="quiet isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1 irqaffinity=0 intel_iommu=on iommu=pt"
BOUND=$'set-override 0000:03:00.0 vfio-pci\nset-override 0000:03:00.1 vfio-pci'
banned() { inside grep -v '^#' /etc/default/irqbalance; }
check "the kernel keeps off the worker's core" is "$KERNEL" grub
check "irqbalance, too" has IRQBALANCE_BANNED_CPULIST=1 banned
check "huge pages are reserved at boot" is "vm.nr_hugepages = $(cat /proc/sys/vm/nr_hugepages)" inside cat /etc/sysctl.d/60-softwire-gateway.conf
check "the clock's governor is set at boot" is "w- /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor - - - - performance" inside cat /etc/tmpfiles.d/softwire-gateway-governor.conf
check "vfio-pci is loaded at boot" is vfio-pci inside cat /etc/modules-load.d/softwire-gateway.conf
check "and now" inside test -e /sys/module/vfio_pci
check "the ports are bound to it" is "$BOUND" inside cat /root/driverctl-asked
check "the second run changes nothing" same
check "no port is bound twice" is "$BOUND" inside cat /root/driverctl-asked
check "grub was asked once" is asked inside cat /root/grub-asked
check "Grafana was started once" is started inside cat /root/grafana-started

# ---- drift -----------------------------------------------------------------------------------------------------
drift() {
  api /config/subscribers/mallory -X PUT -d '{"user":"mallory","secret":"another-that-nobody-sees"}' &&
    api /config/subscribers/alice -X PATCH -d '{"secret":"another-that-nobody-sees"}' && inside sh -c 'systemctl disable softwired && rm /etc/sysctl.d/60-softwire-gateway.conf &&
      sed -i /03:00.1/d /root/overrides && sed -i "s/isolcpus=[^ ]*//" /etc/default/grub.d/60-softwire-gateway.cfg && sed -i s/CPULIST=1/CPULIST=/ /etc/default/irqbalance &&
      echo drift >>/etc/softwire-gateway/api.key && chmod 644 /etc/softwire-gateway/api.key'
}
mallory() { api /config/subscribers/mallory; }
must "somebody changes the configuration by hand, and files" drift
check "a run in check mode" playbook --check --diff
check "says who would go" said /subscribers/mallory
check "and whose secret would be put back" said /subscribers/alice/secret
check "and does nothing" mallory
check "nor binds a port" is "$BOUND" inside cat /root/driverctl-asked
check "a run puts it back" changes
check "nobody else is served" refused mallory
check "the file is there again" inside test -s /etc/sysctl.d/60-softwire-gateway.conf
check "and the unit is enabled" inside systemctl -q is-enabled softwired
check "the port is bound again, and only that one" is "$BOUND"$'\nset-override 0000:03:00.1 vfio-pci' inside cat /root/driverctl-asked
check "the kernel's command line is as it was" is "$KERNEL" grub
check "and grub has heard of it" is $'asked\nasked' inside cat /root/grub-asked
check "irqbalance keeps off that core again" has IRQBALANCE_BANNED_CPULIST=1 banned
check "the key is the one that was given" cmp "$play/api.key" "$ROOT/etc/softwire-gateway/api.key"
check "and the gateway's alone" mode "softwire:softwire 600" /etc/softwire-gateway/api.key
check "the next run changes nothing" same

# ---- a generator, here the same machine -------------------------------------------------------------------------------
# The profile's ports are the devices of an empty link, so that the test itself says that no gateway is there.
sed -e 's/count: .*/count: 3/' "$REPO/perf/capacity/profiles/setups.yaml" |
  sed -e '/certificates:/d' -e '/softwire-capacity pki/d' -e 's/mlkem: false/psk: "key-that-nobody-sees-{n}"/' -e 's/"0000:3b:00.0"/"net_null0,no-rx=1"/' -e 's/eal: .*/eal: [--no-pci, --no-huge, -m512]/' -e 's/cpu: 2/cpu: 0/' >"$play/profile.yaml"
cp "$BIN/softwire-capacity" "$play/"
cat >"$play/lab.yml" <<Y
gateways: { hosts: { gw: { ansible_connection: local, ansible_host: 127.0.0.1, ansible_python_interpreter: /usr/bin/python3 } } }
generators: { hosts: { gw: } }
Y
capacity() {
  local rc=0
  ansible_in ansible-playbook -i /root/play/lab.yml -e capacity_binary=/root/play/softwire-capacity -e capacity_profile=/root/play/profile.yaml "$@" \
    "$COLLECTION/playbooks/capacity.yml" >"$STATE/last" 2>&1 || { rc=$?; cat "$STATE/last"; }
  cat "$STATE/last" >>"$STATE/all"; return $rc
}
unchanged() { capacity && { [ "$(count changed)" = 0 ] || { grep -B3 '^changed' "$STATE/last"; false; }; }; }
check "the playbook for capacity tests prepares generator and gateway" capacity
check "the generator's binary is there, and runs" inside /usr/local/sbin/softwire-capacity --version
check "its profile is root's alone" mode "root:root 600" /etc/softwire-capacity/profile.yaml
check "the gateway knows the profile's subscribers" grep -q '"s2"' <(api /config/subscribers/s2)
check "and their peers" grep -q '"s2@cert.example.net"' <(api /config/ike/peers/capacity-2)
check "and those of before" grep -q '"alice"' <(api /config/subscribers/alice)
check "again, it changes nothing" unchanged
silent() { ! capacity -e capacity_run=true && grep -q 'does not answer ARP' "$STATE/last"; }
check "a test without a gateway on the link fails, and says why" silent
for secret in nobody-sees "PRIVATE KEY"; do
  check "no run has said a secret ($secret)" lacks "$secret" cat "$STATE/all"
  check "and none is in the log" lacks "$secret" inside journalctl --no-pager
done
finish
