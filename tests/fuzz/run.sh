#!/bin/bash
# run.sh [SECONDS] [TARGET...] - fuzzes every target (or those named) for SECONDS (60) each. New inputs that reach new
# code are kept in tests/fuzz/work and not committed; what fails ends the run, and a crash is written to
# tests/fuzz/artifacts.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || true
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
export RUSTC_BOOTSTRAP=1 # the sanitizers are an option that the stable compiler hides
targets=("$@"); [ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
for t in "${targets[@]}"; do
  mkdir -p "tests/fuzz/work/$t"
  echo "== $t, $seconds s"
  if ! cargo fuzz run --fuzz-dir tests/fuzz "$t" "tests/fuzz/work/$t" "tests/fuzz/corpus/$t" -- \
      -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1 >"tests/fuzz/work/$t.log" 2>&1; then
    tail -n 40 "tests/fuzz/work/$t.log"; echo "$t failed: tests/fuzz/work/$t.log"; exit 1
  fi
  grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "tests/fuzz/work/$t.log"
done
