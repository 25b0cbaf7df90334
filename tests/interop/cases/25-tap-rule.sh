#!/bin/bash
# A rule on a TAP (rte_flow) chooses the queue: the test of crate dpdk, on a kernel that has sch_multiq
. "$(dirname "$0")/../lib.sh"
netns "$ACC" br0
MEM=768 boot tap "$ACC" br0:192.0.2.2/24
# with the features of the whole workspace, as by `cargo test`: what that has built is not built again
built() {
  local test
  test=$(cd "$REPO" && cargo test --workspace --test tap_rules --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') && cp "$test" "$STATE/share/tap_rules"
}
passed() {
  g tap 'modprobe tun && /t/tap_rules --nocapture 2>&1' >"$LOGS/test.log"; cat "$LOGS/test.log"
  grep -q '^test result: ok. 1 passed; 0 failed; 0 ignored' "$LOGS/test.log" && ! grep -q skipped "$LOGS/test.log"
}
must "the test is built" built
ready tap
check "it passes in a guest, and is not skipped there" passed
finish
