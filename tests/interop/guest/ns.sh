#!/bin/bash
# ns.sh (in a guest) - several customers in one guest: network namespaces, each with /tmp, /run and the files of xl2tpd and pppd for itself, so that
# the other scripts need not know. What /t/NAME.env says is in the environment of NAME's commands.
# usage: ns.sh add NAME INTERFACE [ROUTER]   the interface moves there, with its addresses
#        ns.sh NAME COMMAND...
#        ns.sh each "NAME..." COMMAND...     by all of them at once; fails when one does
set -eu
case $1 in
add) N=$2 I=$3; A=$(ip -br addr show "$I" scope global | awk '{for (i = 3; i <= NF; i++) print $i}')
  mkdir -p "/tmp/$N/run/xl2tpd" "/tmp/$N/run/lock"; cp -r /etc/ppp /etc/xl2tpd "/tmp/$N"
  ip netns add "$N"; ip link set "$I" netns "$N"; ip -n "$N" link set lo up; ip -n "$N" link set "$I" up
  for a in $A; do ip -n "$N" addr add "$a" dev "$I"; done; [ -z "${4:-}" ] || ip -n "$N" route add default via "$4";;
each) L=$2; shift 2; P=
  for n in $L; do "$0" "$n" "$@" >"/tmp/$n/out" 2>&1 & P="$P $n:$!"; done
  S=0; for p in $P; do wait "${p#*:}" || { S=1; echo "== ${p%:*}"; tail -n 6 "/tmp/${p%:*}/out"; }; done; exit $S;;
*) N=$1; shift; [ ! -e "/t/$N.env" ] || { set -a; . "/t/$N.env"; set +a; }
  exec ip netns exec "$N" bash -c 'D=/tmp/$0; for d in ppp xl2tpd; do mount --bind $D/$d /etc/$d; done; mount --bind $D/run /run; mount --bind $D /tmp; unset D d; eval "$*"' "$N" "$@";;
esac
