#!/bin/bash
# ns.sh (in a guest) - several customers in one guest: network namespaces, each with a /tmp and a /run of its own, so that the other scripts
# need not know. What /t/NAME.env says is in the environment of NAME's commands.
# usage: ns.sh add NAME INTERFACE [ROUTER]   the interface moves there, with its addresses
#        ns.sh NAME COMMAND...
#        ns.sh each "NAME..." COMMAND...     by all of them at once; fails when one does
set -eu
case $1 in
add) N=$2 I=$3; A=$(ip -br addr show "$I" scope global | awk '{for (i = 3; i <= NF; i++) print $i}')
  mkdir -p "/tmp/$N/run/xl2tpd" "/tmp/$N/run/lock"; ip netns add "$N"; ip link set "$I" netns "$N"; ip -n "$N" link set lo up; ip -n "$N" link set "$I" up
  for a in $A; do ip -n "$N" addr add "$a" dev "$I"; done; [ -z "${4:-}" ] || ip -n "$N" route add default via "$4";;
each) L=$2; shift 2; P=
  for n in $L; do "$0" "$n" "$@" >"/tmp/$n/out" 2>&1 & P="$P $n:$!"; done
  S=0; for p in $P; do wait "${p#*:}" || { S=1; echo "== ${p%:*}"; tail -n 6 "/tmp/${p%:*}/out"; }; done; exit $S;;
*) N=$1; shift; [ ! -e "/t/$N.env" ] || { set -a; . "/t/$N.env"; set +a; }
  exec ip netns exec "$N" bash -c 'mount --bind /tmp/'"$N"'/run /run; mount --bind /tmp/'"$N"' /tmp; eval "$*"' - "$@";;
esac
