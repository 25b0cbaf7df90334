#!/bin/bash
# root.sh - says what the demo and the interop tests need when it is not there: root, network namespaces, a /dev/null for everybody.
[ "$(id -u)" = 0 ] || { echo "needs root (network namespaces, raw sockets): run it as root, e.g. by sudo" >&2; exit 1; }
n=swgw-probe-$$
ip netns add "$n" 2>/dev/null || { echo "cannot make network namespaces: needs CAP_SYS_ADMIN and CAP_NET_ADMIN" >&2; exit 1; }
ip netns del "$n"
[ "$(stat -c %a /dev/null)" = 666 ] || { echo "/dev/null is not open to everybody, so apt cannot work: chmod 666 /dev/null" >&2; exit 1; }
