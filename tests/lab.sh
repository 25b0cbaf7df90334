#!/bin/bash
# lab.sh - all that needs a network lab, in two lanes side by side, since each of them waits most of the time: interop cases
# with guests, which keep one core busy, and the rest. Lines of the second lane begin with "| ".
# Closing lines: what has failed, if anything has, and what it said.
set -u
cd "$(dirname "$0")"
setup/apt.sh build lab view package && setup/root.sh && interop/image/build.sh || exit 1
LOGS=$PWD/interop/work/logs
lanes=() work=$(mktemp -d)
trap 'for lane in "${lanes[@]}"; do kill -TERM -- "-$lane" 2>/dev/null; done; wait; rm -rf "$work"; exit 143' TERM INT HUP
# run NAME COMMAND...
run() {
  local began=$(date +%s); echo "==== $1"
  "${@:2}" 2>&1 | tee "$work/$1"; [ "${PIPESTATUS[0]}" = 0 ] || mv "$work/$1" "$work/failed: $1"
  echo "==== $1: $(( $(date +%s) - began )) s"
}
guests() { run "interop with guests" env LOGS="$LOGS/guests" interop/run.sh --guests; }
others() {
  run "interop without guests" env LOGS="$LOGS/others" interop/run.sh --no-guests
  run "capacity lab" env LOGS="$LOGS/capacity" capacity/run.sh
  run "API against its description" env LOGS="$LOGS/api" api/schemathesis.sh
  run "live view" view/run.sh
  run "Debian package" package/run.sh
  run "first hour" package/first-hour.sh
  run "Ansible" ansible/run.sh
}
set -m
guests & lanes+=($!)
others > >(sed -u 's/^/| /') 2>&1 & lanes+=($!)
set +m
wait
cd "$work"; failures=("failed: "*)
if [ -e "${failures[0]}" ]; then
  for f in "${failures[@]}"; do echo "$f"; grep -w -A12 FAIL "$f" | tail -40 || true; tail -n 8 "$f"; done; rm -rf "$work"; exit 1
fi
rm -rf "$work"; echo "all of the lab has passed"
