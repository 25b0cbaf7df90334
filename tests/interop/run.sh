#!/bin/bash
# run.sh - the interop tests, one after the other; logs in work/logs. Closing line: "N passed, N failed".
# usage: run.sh [--reference | --guests | --no-guests] [CASE...]    CASE is the start of a name in cases/, e.g. 10
#   --reference  a strongSwan and xl2tpd guest in the gateway's place: checks clients and network, not the gateway
#   --guests     only cases that boot guests; --no-guests: the others
# A case with a guest of a suite that changes from day to day (IMAGE=) is run when it is named.
set -u
cd "$(dirname "$0")"
GUESTS=any
case "${1:-}" in
  --reference) export PEER=linux; shift;;
  --guests) GUESTS=yes; shift;;
  --no-guests) GUESTS=no; shift;;
  --help) sed -n 2,7p "$0"; exit 0;;
esac
# what boots a guest waits for it to be ready
wanted() { case $GUESTS in yes) grep -qw ready "$1";; no) ! grep -qw ready "$1";; esac; }
../setup/apt.sh build lab && ../setup/root.sh && image/build.sh || exit 1
[ "${PEER:-}" = linux ] || [ -x "${BIN:-${CARGO_TARGET_DIR:-../../target}/release}/softwired" ] || { echo "no softwired: cargo build --release" >&2; exit 1; }
export LOGS=${LOGS:-$PWD/work/logs}; rm -rf "$LOGS"; mkdir -p "$LOGS"
[ $# -gt 0 ] || { [ "${PEER:-}" = linux ] && set -- 10 11 12 22 || set -- ""; }
PASSED=0 FAILED=0
trap '[ -z "${CHILD:-}" ] || { kill -TERM "$CHILD"; wait "$CHILD"; }; exit 143' TERM INT HUP
for prefix in "$@"; do for script in cases/"$prefix"*.sh; do
  [ -e "$script" ] || { echo "no such case: $prefix"; FAILED=$((FAILED+1)); continue; }
  wanted "$script" || continue
  [ -n "$prefix" ] || ! grep -q '\bIMAGE=' "$script" || continue
  name=$(basename "$script" .sh) began=$(date +%s)
  echo "== $name: $(sed -n '2s/^# //p' "$script")"
  for image in $(grep -oP '\bIMAGE=\K\w+' "$script"); do image/build.sh "$image" || { FAILED=$((FAILED+1)); continue 2; }; done
  timeout -k 30 "${CASE_SECONDS:-420}" bash "$script" </dev/null > >(tee "$LOGS/$name.log") 2>&1 & CHILD=$!
  wait "$CHILD"; status=$?; CHILD=
  # tee may lag behind
  for _ in $(seq 30); do grep -qE '^[0-9]+ passed, [0-9]+ failed' "$LOGS/$name.log" && break; sleep 0.1; done
  wait; result=$(grep -oE '^[0-9]+ passed, [0-9]+ failed' "$LOGS/$name.log" | tail -1)
  [ $status = 0 ] && [ -n "$result" ] || { case "$result" in ''|*' 0 failed') result="$(grep -c '\] ok ' "$LOGS/$name.log") passed, 1 failed";; esac
    echo "   status $status; logs: $LOGS/$name/"; }
  PASSED=$((PASSED + ${result%% *})); result=${result#* passed, }; FAILED=$((FAILED + ${result%% *}))
  echo "   $(( $(date +%s) - began )) s"
done; done
echo "$PASSED passed, $FAILED failed"; [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
