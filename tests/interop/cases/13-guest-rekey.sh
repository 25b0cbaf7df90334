#!/bin/bash
# Rekey of child and IKE SAs from either side, by hand and by lifetime, under traffic: nothing may be lost
. "$(dirname "$0")/../lib.sh"
layout
boot alice "$ACC" br0:192.0.2.2/24
gateway; bystander; ready alice
ike_up alice 192.0.2.2 $GW4 || finish
ppp_up alice || finish
check "router advertisement" g alice /t/v6.sh slaac || finish
spi() { api value '[s["spi_in"] for s in child if s["peer"] == [i["peer"] for i in ike if i["remote_id"] == "alice@example.net"][0] and s["selected"]][0]'; }
ike_peer() { api value '[i["peer"] for i in ike if i["remote_id"] == "alice@example.net"][0]'; }
ike_spi() { api value '[i["spi_i"] for i in ike if i["remote_id"] == "alice@example.net"][0]'; }
# under_traffic DESCRIPTION COMMAND...: pings at 20 a second while COMMAND runs and 4 s longer
under_traffic() {
  local what=$1; shift
  g alice "setsid ping -i0.05 -W2 -w 12 $WEB6 >/tmp/ping.out 2>&1 </dev/null & sleep 1"
  check "$what" "$@"
  sleep 9
  check "   and of the pings none is lost" g alice "for i in \$(seq 100); do grep -q 'packets transmitted' /tmp/ping.out && break; sleep 0.1; done; tail -3 /tmp/ping.out; grep -q ' 0% packet loss' /tmp/ping.out"
}
both() { api rekey-child "$(spi)" & local p=$!; g alice '/t/ike.sh rekey-child gw'; wait $p; }
changed() { local before=$1; shift; waits 8 eval '[ "$('"$1"')" != "'"$before"'" ]'; }
s=$(spi); under_traffic "client rekeys the child SA" g alice '/t/ike.sh rekey-child gw'; check "the child SA is another" changed "$s" spi
s=$(ike_spi); under_traffic "client rekeys the IKE SA" g alice '/t/ike.sh rekey-ike gw'; check "the IKE SA is another" changed "$s" ike_spi
s=$(spi); under_traffic "gateway rekeys the child SA" api rekey-child "$s"; check "the child SA is another" changed "$s" spi
s=$(ike_spi); under_traffic "gateway rekeys the IKE SA" api rekey-ike "$(ike_peer)"; check "the IKE SA is another" changed "$s" ike_spi
s=$(spi); under_traffic "both rekey the child SA at once" both; check "the child SA is another" changed "$s" spi
gw_check "old child SAs are gone after the grace time" api wait 'len([s for s in child if s["peer"] == [i["peer"] for i in ike if i["remote_id"] == "alice@example.net"][0]]) == 1' 15
undisturbed
gateway_stop
finish
