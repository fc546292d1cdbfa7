#!/usr/bin/env bash
# The checked-in API description is what the code says. `tests/api-drift.sh --write` brings it up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
now=$(mktemp)
trap 'rm -f "$now"' EXIT
cargo run --quiet --locked -p journeylog -- openapi >"$now"
if [ "${1:-}" = --write ]; then
  cp "$now" docs/openapi.json
elif ! diff -u docs/openapi.json "$now"; then
  echo "docs/openapi.json is not what the code says: run tests/api-drift.sh --write" >&2
  exit 1
fi
