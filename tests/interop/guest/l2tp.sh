#!/bin/bash
# l2tp.sh (in a guest) - xl2tpd and pppd, as softwire initiator (LAC) or, for checking the tests themselves, as LNS.
# usage: l2tp.sh lac LNS-ADDRESS    env: USERN PASSW, V4=no V6=no, TSECRET tunnel secret, OPTS more pppd options
#        l2tp.sh lns ADDRESS        env: AUTHM=chap|pap and the above
#        l2tp.sh relay6 LNS6 LOCAL6 127.0.0.9:1701 <-> [LOCAL6]:1701 <-> [LNS6]:1701: xl2tpd speaks only IPv4
#                                   (then LPORT=1702 l2tp.sh lac 127.0.0.9)
#        l2tp.sh relay4 LNS LOCAL   likewise over IPv4, so that LOCAL may change: again with another one
#        l2tp.sh relay6-server LOCAL6   the same in front of an LNS
#        l2tp.sh wait [SECONDS] | down | hangup | stop
#        N=1: a second one beside it, for ppp1
set -eu
D=/tmp/l2${N:-}; mkdir -p $D /run/xl2tpd /etc/ppp
: "${V4:=yes}" "${V6:=yes}" "${USERN:=alice}" "${PASSW:=wonderland}"; I=ppp${N:-0}
config() { # role, line with the peer...
  modprobe -a l2tp_ppp 2>/dev/null || true
  printf '%s * %s *\n* %s %s *\n' "$USERN" "$PASSW" "$USERN" "$PASSW" >/etc/ppp/chap-secrets; cp /etc/ppp/chap-secrets /etc/ppp/pap-secrets; chmod 600 /etc/ppp/*-secrets
  printf '* * %s\n' "${TSECRET:-none}" >/etc/xl2tpd/l2tp-secrets
  printf '%s\n' "mtu 1400" "mru 1400" noccp nodefaultroute debug "logfile $D/pppd.log" "lcp-echo-interval ${ECHO:-20}" "lcp-echo-failure 3" ${OPTS:-} >$D/options
  [ "$V4" = yes ] || echo noip >>$D/options; [ "$V6" = no ] || echo +ipv6 >>$D/options
  printf '%s\n' "[global]" "port = ${LPORT:-1701}" "access control = no" "debug tunnel = yes" "debug state = yes" >$D/xl2tpd.conf; }
common() { printf '%s\n' "challenge = $([ -n "${TSECRET:-}" ] && echo yes || echo no)" "pppoptfile = $D/options" "length bit = yes" >>$D/xl2tpd.conf; }
go() { setsid xl2tpd -D -c $D/xl2tpd.conf -p /run/xl2tpd${N:-}.pid -C /run/xl2tpd/l2tp-control${N:-} </dev/null >>$D/xl2tpd.log 2>&1 & }
gone() { for _ in $(seq 100); do pidof "$@" >/dev/null || return 0; sleep 0.1; done; return 1; }
case $1 in
lac) config
  printf '%s\n' noauth "name $USERN" "user $USERN" "password $PASSW" noipdefault ipcp-accept-local ipcp-accept-remote >>$D/options
  printf '%s\n' "[lac gw]" "lns = $2" "name = $USERN" "hostname = $(hostname).example.net" "require authentication = no" \
    "autodial = yes" "redial = ${REDIAL:-no}" "redial timeout = 3" "max redials = 5" >>$D/xl2tpd.conf; common; go;;
lns) config
  printf '%s\n' auth "require-${AUTHM:-chap}" "name lns" "ipv6 ::1,::2" >>$D/options
  printf '%s\n' "listen-addr = $2" "[lns default]" "ip range = 10.100.0.10-10.100.0.200" "local ip = 10.100.0.1" "require authentication = yes" \
    "name = lns" "hostname = lns.example.net" >>$D/xl2tpd.conf; common; go;;
relay6) setsid socat UDP4-LISTEN:1701,bind=127.0.0.9,reuseaddr "UDP6:[$2]:1701,bind=[$3]:1701" </dev/null >$D/relay.log 2>&1 & ;;
relay4) [ ! -e $D/relay.pid ] || kill "$(cat $D/relay.pid)" || true
  setsid socat UDP4-LISTEN:1701,bind=127.0.0.9,reuseaddr "UDP4:$2:1701,bind=$3:1701" </dev/null >$D/relay.log 2>&1 & echo $! >$D/relay.pid;;
relay6-server) setsid socat "UDP6-LISTEN:1701,bind=[$2],fork,reuseaddr" UDP4:127.0.0.1:1701 </dev/null >$D/relay.log 2>&1 & ;;
wait) for _ in $(seq $(( ${2:-40} * 10 ))); do
    if [ -e /sys/class/net/$I ]; then
      { [ "$V4" = no ] || ip -4 -br a show $I | grep -q peer; } && { [ "$V6" = no ] || ip -6 -br a show $I scope link | grep -q fe80; } && { ip -br a show $I; exit 0; }
    fi; sleep 0.1; done
  echo "no $I"; tail -n 20 $D/xl2tpd.log $D/pppd.log; exit 1;;
down) for _ in $(seq $(( ${2:-30} * 10 ))); do [ -e /sys/class/net/$I ] || exit 0; sleep 0.1; done; echo "$I is still there"; exit 1;;
hangup) echo "d gw" >/run/xl2tpd/l2tp-control${N:-};;
stop) kill "$(cat /run/xl2tpd${N:-}.pid)"; gone xl2tpd pppd; rm -f $D/*.log;;
*) sed -n 2,10p "$0"; exit 2;;
esac
