# lib.sh - what run.sh sources on top of interop/lib.sh: the generator's network, its profile and the gateway it is held against.
#
#   generator x0 ── x1 $GW softwired $GW y1 ── y0 generator
#   192.0.2.254      192.0.2.1    198.51.100.1   198.51.100.2     (and IPv6 on the right)
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
GEN=$PFX-gen COUNT=${COUNT:-40}
HERE=$REPO/tests/capacity
CAPACITY=$BIN/softwire-capacity

# the ports of both are the kernel's interfaces, which DPDK reads beside the kernel: it must not answer the same frames
wires() {
  netns "$GW"; netns "$GEN"
  veth "$GEN" x0 "$GW" g0; veth "$GEN" y0 "$GW" g1
  local e; for e in "$GEN x0" "$GEN y0" "$GW g0" "$GW g1"; do
    in_ns ${e% *} sysctl -qw "net.ipv6.conf.${e#* }.disable_ipv6=1" "net.ipv4.conf.${e#* }.arp_ignore=8"
    in_ns ${e% *} ethtool -K ${e#* } rx off >/dev/null 2>&1
  done
  in_ns "$GW" nft 'table ip quiet { chain in { type filter hook prerouting priority raw; iifname { "g0", "g1" } drop; }; }'
}

# profile NAME FILE: a profile of this directory, for the ports here
profile() {
  local eal; eal=$("$REPO/tests/setup/hugepages.sh" 192)
  sed -e "s|@EAL@|--no-pci, $eal, --no-telemetry, --file-prefix=$PFX-gen|" -e "s|@CPU@|$CPU_VM|" -e "s|@COUNT@|$COUNT|" -e "s|@PKI@|$STATE/pki|g" -e "s|@RUN@|$STATE|g" "$HERE/$1" >"$2"
}

# ports of the gateway's configuration: over the veth pairs, or ends of shared memory, two of them tagged
VETH_PORTS="
  - { name: access, device: \"net_af_packet0,iface=g0\", zone: public, addresses: [192.0.2.1/24] }
  - { name: core, device: \"net_af_packet1,iface=g1\", zone: trusted, addresses: [198.51.100.1/24, \"2001:db8:c::1/64\"] }"
memif() { echo "net_memif$1,role=server,id=$1,socket=$STATE/memif.sock,socket-abstract=no"; }
MEMIF_PORTS="
  - { name: access, device: \"$(memif 0)\", zone: public, addresses: [\"2001:db8:a::1/64\"] }
  - { name: core, device: \"$(memif 1)\", zone: trusted, addresses: [198.51.100.1/24, \"2001:db8:c::1/64\"] }
  - { name: access2, device: \"$(memif 2)\", zone: public, vlan: 7, addresses: [\"2001:db8:b::1/64\"] }
  - { name: core2, device: \"$(memif 3)\", zone: trusted, vlan: 8, addresses: [203.0.113.1/24, \"2001:db8:d::1/64\"] }"

# configuration FILE PROFILE PORTS LISTENER: a gateway for the profile's subscribers; its certificate is in $STATE/pki
configuration() {
  cat >"$STATE/base.yaml" <<Y
dataplane: { workers: [$CPU_GW], poll: idle, eal: [--no-pci, $("$REPO/tests/setup/hugepages.sh" 192)], max_sessions: 1024 }
ports: $3
listeners: [{ name: secure, address: "$4" }]
ppp: { authenticate: [chap], name: gw.example.net, local_ipv4: 10.100.0.1 }
pools: { ipv4: [10.100.0.0/22], ipv6: ["2001:db8:100::/48"] }
$(api_config gw)
Y
  "$CAPACITY" gateway "$2" --port access --port access2 >"$STATE/part.json" &&
    /usr/bin/python3 - "$STATE/base.yaml" "$STATE/part.json" "$1" "$STATE/pki" <<'P'
import json, sys
base, part, out, pki = sys.argv[1:]
part = json.load(open(part))
part["ike"]["certificate"] = {"chain": pki + "/gateway.pem", "key": pki + "/gateway.key"}
part["ike"]["peers"].append({"name": "fleet", "id": "*@cert.example.net", "auth": "certificate", "ca": pki + "/ca.pem"})
# JSON is YAML: a line for each key.
open(out, "w").write(open(base).read() + "".join(f"{k}: {json.dumps(v)}\n" for k, v in part.items()))
P
}
# serve PROFILE PORTS LISTENER
serve() {
  must "the gateway's configuration is made" configuration "$STATE/gw.yaml" "$@"
  must "softwired accepts what the generator says of its subscribers" in_ns "$GW" "$BIN/softwired" check -c "$STATE/gw.yaml"
  spawn softwired "$GW" "$BIN/softwired" -c "$STATE/gw.yaml"
  must "softwired is up" api wait 'st["sessions"] == 0' 30
}
served() {
  check "softwired is alive, and has not panicked" eval 'alive softwired && ! logged softwired -q panicked'
  check "softwired ends when asked" halted softwired; unset "PID[softwired]"
}

# generator NAME PROFILE [ARGUMENT...]: runs it to its end, in at most 120 s; output and result in $LOGS/NAME
generator() {
  local out=$LOGS/$1; mkdir -p "$out"
  in_ns "$GEN" timeout -k 5 120 "$CAPACITY" run "$2" --out "$out" "${@:3}" >"$out/output.log" 2>&1
}
# result NAME EXPRESSION: whether it holds of the result, which is `r`; stages by kind are in `s`
result() {
  /usr/bin/python3 - "$LOGS/$1/result.json" "$2" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
s = {x["kind"]: x for x in r["stages"]}
found = eval(sys.argv[2])
print(sys.argv[2], "->", found, file=sys.stderr)
for kind, x in s.items(): print(kind, json.dumps({k: v for k, v in x["subscribers"].items() if k != "wait"}), file=sys.stderr)
for c in r["checks"]: print(c, file=sys.stderr)
sys.exit(not found)
P
}
