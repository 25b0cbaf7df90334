#!/bin/bash
# build.sh [OUT] - makes the Debian package and prints its path. OUT is a file or a folder, target/debian where absent.
# BIN=DIR packages the binaries that are there (debug ones, for a test) rather than building the release.
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO_DEB=3.8.0
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
out=${1:-$CARGO_TARGET_DIR/debian}
out=$(realpath -m "$out")

[ "$(cargo deb --version 2>/dev/null)" = "cargo-deb $CARGO_DEB" ] || cargo install -q --locked cargo-deb --version $CARGO_DEB >&2
if [ -z "${BIN:-}" ]; then
  cargo build --release -p softwire-gateway -p softwire-initiator -p swctl --bins >&2
  BIN=$CARGO_TARGET_DIR/release
fi
# cargo-deb takes what it packages from a target folder: one of our own, so that other binaries do no harm
stage=$(mktemp -d); trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/release/completions"
cp "$BIN"/{softwired,swctl,softwire-initiator} "$stage/release/"
for shell in bash:swctl.bash zsh:_swctl fish:swctl.fish; do
  "$BIN/swctl" completion "${shell%:*}" >"$stage/release/completions/${shell#*:}"
done
"$BIN/swctl" man | gzip -9n >"$stage/release/swctl.1.gz"
CARGO_TARGET_DIR=$stage cargo deb --no-build --strip -q -o "$out"
