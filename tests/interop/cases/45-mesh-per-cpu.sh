#!/bin/bash
# A Linux guest with two processors under strongSwan 6.1, and two workers: child SAs for each (RFC 9611), ML-KEM-768 (RFC 9370)
CORE_FAMILY=6; . "$(dirname "$0")/../lib.sh"; . "$(dirname "$0")/../mesh.sh"
[ "$(nproc)" -gt 1 ] || { echo "two workers on one core would take turns: not a test"; FAILED=1; finish; }
CPU_VM=0,1 IMAGE=forky SMP=2 linux_layout
both_workers() { CPU="0, 1" DEVARGS=",qpairs=2" DPD=60s DEAD=120s PROTECT=secret PROFILES="{ name: secret, start: $1, per_worker: true, esp_proposals: [aes128gcm16-x25519] }" west; }
# cpu N [COUNT]: pings by the guest's processor N
cpu() { g linux -t 90 "taskset -c $1 /usr/bin/ping -c${2:-1} -i0.2 -W5 -I $IEH $IWH"; }
# each_its_own SECONDS: besides the SA for all there is one for each worker, and one for each processor. On a slow machine there may
# be more: both ends ask at once.
each_its_own() {
  api wait '{c["worker"] for c in child if c["bound"]} == {0, 1} and {c["peer_resource"] for c in child} == {None, "00000000", "00000001"}' "$1" &&
    [ "$(g linux '/t/ike.sh cpus gw')" = "0 1" ]
}
hybrid() { api check 'ike[0]["algorithms"] == "aes128gcm16-prfsha256-x25519-ke1_mlkem768"' && g linux '/t/ike.sh list | grep -q "^  .*CURVE_25519/KE1_ML_KEM_768"'; }
hybrid_child() { g linux '/t/ike.sh list | grep "cpu 0" | grep -q CURVE_25519/KE1_ML_KEM_768'; }
unharmed() { api check 'not any(c["drop." + n] for n in ("esp_integrity", "esp_replay", "sa_unknown", "sa_mismatch", "sa_missing", "sa_expired", "handoff_full"))' && g linux '! grep -E "XfrmIn.*[1-9]" /proc/net/xfrm_stat'; }
# flows of many ports, which the island's queues share
flows() { in_ns "$IW" bash -c "for p in {2000..2039}; do echo >/dev/udp/$IEH/\$p; done"; api wait '{c["worker"] for c in child if c["bound"] and c["out_packets"]} == {0, 1}' 1; }
spis() { api value '" ".join(c["spi_in"] for c in child)'; }
# gone SPI...: none of them is there any more
gone() { [ $# -gt 0 ] && api wait 'not {c["spi_in"] for c in child} & set("'"$*"'".split())' 40 && each_its_own 10; }
rekey_all() { local spi; [ -n "$(spis)" ] && for spi in $(spis); do api rekey-child "$spi" || return; done; }
# lossless WHO COMMAND...: pings by both processors and to them, while COMMAND replaces all child SAs. An emulated guest on a busy machine
# loses one now and then, which nobody counts; what the gateway drops, "unharmed" finds.
lossless() {
  local who=$1 old; old=$(spis); shift
  g linux -t 120 "for n in 0 1; do taskset -c \$n /usr/bin/ping -q -c60 -i0.2 -W5 -I $IEH $IWH >/tmp/ping\$n & done; wait; cat /tmp/ping*" >"$STATE/there" & local there=$!
  in_ns "$IW" ping -q -c60 -i0.2 -W5 "$IEH" >"$STATE/here" & local here=$!
  sleep 1; check "$who rekeys every child SA" "$@"; check "each has its own again" gone $old
  wait $there $here; check "pings pass meanwhile, and not more than one of 180 is lost" eval 'cat "$STATE/here" "$STATE/there"; [ "$(cat "$STATE/here" "$STATE/there" | sed -n "s/.* \([0-9]*\) received.*/\1/p" | awk "{n += \$1} END {print n}")" -ge 179 ]'
}

both_workers respond; BOOT_SECONDS=240 ready linux
check "the guest reaches the gateway's end" waits 20 g linux "ping -c1 -W2 $W"
g linux "/t/afbr.sh up $E $W $IEH/32 $IWN"
check "strongSwan: a trap for protocol 4, SAs for each processor" g linux -t 90 "/t/ike.sh start && PSK=mesh-key-0123456789 LID=east.example.net RID=west.example.net L=$E R=$W LTS='dynamic[4]' RTS='dynamic[4]' P1=aes128gcm16-prfsha256-x25519-ke1_mlkem768 P2=aes128gcm16-x25519-ke1_mlkem768 CHILD='start_action = trap
per_cpu_sas = yes' /t/ike.sh add gw"
must "a packet of processor 1 brings up an IKE SA and a child SA for all" waits 60 cpu 1
must "another for processor 1 alone, and the gateway asks for its other worker" each_its_own 60
check "ML-KEM-768 at both ends" hybrid
check "the guest's kernel binds SAs to both processors" g linux '[ $(ip xfrm state | grep -o "pcpu-num [01]" | sort -u | grep -c .) = 2 ]'
for n in 0 1; do check "ping from processor $n" cpu $n 10; done
check "by the SA of each" api check 'all(sum(c["in_packets"] for c in child if c["peer_resource"] == r) >= 10 for r in ("00000000", "00000001"))'
check "ping to the guest" in_ns "$IW" ping -c10 -i0.2 -W5 "$IEH"
check "each worker encrypts by its own SA" waits 20 flows
check "download, every octet right" g linux -t 90 "[ \$(wget -q -O - http://$IWH/file | md5sum | cut -d' ' -f1) = $WEB_SUM ]"
lossless "the guest" g linux '/t/ike.sh rekey-child gw'
check "with ML-KEM-768 too" hybrid_child
lossless "the gateway" rekey_all
check "with ML-KEM-768 too" hybrid_child
old=$(api value 'ike[0]["spi_i"]')
check "the guest rekeys the IKE SA" g linux '/t/ike.sh rekey-ike gw'
check "it has another one, with ML-KEM-768" eval 'api wait "len(ike) == 1 and ike[0][\"spi_i\"] != \"$old\"" 20 && hybrid'
old=$(api value 'ike[0]["spi_i"]')
check "so has the gateway's rekey" eval 'api rekey-ike $(api value "ike[0][\"peer\"]") && api wait "len(ike) == 1 and ike[0][\"spi_i\"] != \"$old\"" 20 && hybrid'
check "the guest deletes what is processor 1's" g linux '/t/ike.sh down-cpu gw 1'
check "the gateway does without" api wait '{c["peer_resource"] for c in child} == {None, "00000000"}' 10
check "ping from processor 1, by the SA for all" cpu 1
check "which asks for another" each_its_own 30
check "either end has asked the other, with SA_RESOURCE_INFO" g linux 'for it in generating parsed; do grep -q "$it CREATE_CHILD_SA request .*N(RES_INFO)" /tmp/sw/charon.log || exit 1; done'
check "nothing was harmed" unharmed
check "west ends when asked" halted west
check "its DELETE takes every SA from the guest" waits 20 g linux 'left=$(/t/ike.sh list) && [ -z "$left" ]'
both_workers at_start
must "the gateway brings up an SA for all and one for each worker" each_its_own 60
check "with ML-KEM-768" hybrid
for n in 0 1; do check "ping from processor $n" waits 10 cpu $n; done
check "ping to the guest" in_ns "$IW" ping -c10 -i0.2 -W5 "$IEH"
check "each worker encrypts by its own SA" waits 20 flows
check "nothing was harmed" unharmed
g linux '/t/ike.sh down gw >/dev/null'
check "the peer's DELETE takes the softwire down" api wait 'sw[0]["state"] == "down"' 10
check "west ends when asked" halted west
finish
