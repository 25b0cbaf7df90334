#!/bin/bash
# run.sh [SECONDS] [TARGET...] - fuzzes every target (or those named) for SECONDS (60) each. New inputs that reach new
# code are kept in tests/fuzz/work and not committed; a crash is written to tests/fuzz/artifacts and ends the run.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || true
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
export RUSTC_BOOTSTRAP=1 # the sanitizers are an option that the stable compiler hides
targets=("$@"); [ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
for t in "${targets[@]}"; do
  mkdir -p "tests/fuzz/work/$t"
  echo "== $t, $seconds s"
  cargo fuzz run --fuzz-dir tests/fuzz "$t" "tests/fuzz/work/$t" "tests/fuzz/corpus/$t" -- -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1 2>&1 |
    grep -E '^(stat::number_of_executed|stat::peak|SUMMARY|==[0-9]+==ERROR|thread|artifact|Test unit)|panicked|error' || true
  [ ! -d "tests/fuzz/artifacts/$t" ] || [ -z "$(ls -A "tests/fuzz/artifacts/$t")" ] || { echo "an input fails: tests/fuzz/artifacts/$t"; exit 1; }
done
