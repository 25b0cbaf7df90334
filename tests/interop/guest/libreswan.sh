#!/bin/bash
# libreswan.sh (in a guest) - libreswan's pluto as IKEv1 client, configured as NetworkManager-l2tp does it: a file for the connection alone,
# the secret in another, then "ipsec auto --add" and "--up".
# usage: libreswan.sh start | add NAME | up NAME | down NAME | stop
# "add" reads: L R addresses, PSK, LID (none: our address; @NAME is of type FQDN, as NetworkManager-l2tp writes them all) RID, P1 P2 proposals, ENCAP=yes, TRUNC=yes (SHA2-256 cut to 96 bits), MORE lines
set -eu
S=/tmp/lsw; mkdir -p $S /run/pluto; C=/run/pluto/pluto.ctl
case $1 in
start)
  modprobe -a xfrm_user esp4 esp6 2>/dev/null || true
  printf '%s\n' "config setup" "  logfile=$S/pluto.log" "  logtime=no" "  ikev1-policy=accept" "  virtual-private=%v4:10.0.0.0/8,%v4:192.168.0.0/16" >/etc/ipsec.conf
  mkdir -p /etc/ipsec.d /var/lib/ipsec/nss; : >/etc/ipsec.secrets; touch /etc/resolv.conf; chmod 600 /etc/ipsec.secrets
  [ -e /var/lib/ipsec/nss/cert9.db ] || ipsec initnss >$S/nss.log 2>&1
  setsid /usr/libexec/ipsec/pluto --config /etc/ipsec.conf --nofork </dev/null >$S/out.log 2>&1 & echo $! >$S/pid
  for _ in $(seq 300); do [ ! -S $C ] || ! ipsec whack --status >/dev/null 2>&1 || { ipsec whack --listen >/dev/null; exit 0; }; kill -0 "$(cat $S/pid)" || { cat $S/*.log; exit 1; }; sleep 0.1; done; exit 1;;
add)
  printf '%s : PSK "%s"\n' "${LID:+$LID %any}" "$PSK" >/etc/ipsec.secrets
  cat >$S/$2.conf <<X
conn $2
  auto=add
  type=transport
  authby=secret
  keyingtries=%forever
  left=${L:-%defaultroute}
  ${LID:+leftid=$LID}
  leftprotoport=udp/l2tp
  right=$R
  rightid=${RID:+@}${RID:-%any}
  rightprotoport=udp/l2tp
  ikev2=never
  pfs=no
  ${P1:+ike=$P1}
  ${P2:+esp=$P2}
  ${ENCAP:+encapsulation=$ENCAP}
  ${TRUNC:+sha2-truncbug=$TRUNC}
  ${MORE:-}
X
  sed -i '/^ *$/d' $S/$2.conf
  ipsec auto --rereadsecrets; ipsec auto --config $S/$2.conf --add "$2";;
up) timeout "${T:-30}" ipsec auto --up "$2";;
down) ipsec auto --down "$2"; ipsec auto --delete "$2";;
stop) ipsec whack --shutdown; for _ in $(seq 50); do kill -0 "$(cat $S/pid)" 2>/dev/null || exit 0; sleep 0.1; done; exit 1;;
*) sed -n 2,6p "$0"; exit 2;;
esac
