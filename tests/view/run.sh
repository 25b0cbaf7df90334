#!/bin/bash
# run.sh - the live view in headless Chromium; screenshots in out/. Closing lines: what failed and how, "N passed, N failed".
# usage: run.sh [TEST...]                   against a gateway that is made up (mock.py); TEST is a part of a test's name
#        API=URL [TOKEN=...] run.sh         against a gateway that runs: https://127.0.0.1:8443, or unix:/run/.../api.sock
#        SHOW=1 run.sh                      serves the made-up gateway, to be looked at, until it is interrupted
set -eu
cd "$(dirname "$0")"
[ "${1:-}" != --help ] || { sed -n 2,5p "$0"; exit 0; }
[ -z "${SHOW:-}" ] || exec python3 mock.py
../setup/apt.sh view
python=work/venv/bin/python
# the driver of the browser and axe-core; the browser is Debian's
if ! $python -c 'import axe_playwright_python, jsonschema, playwright' 2>/dev/null; then
  rm -rf work/venv; python3 -m venv work/venv
  work/venv/bin/pip install --quiet --disable-pip-version-check playwright==1.65.2 axe-playwright-python==0.1.8 jsonschema==4.25.1
fi
exec $python view.py "$@"
