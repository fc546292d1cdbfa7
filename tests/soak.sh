#!/usr/bin/env bash
# make soak: ROUNDS seeded rounds of kills, moves and restarts (default 200), each compared with the pure fold of the log.
set -euo pipefail
cd "$(dirname "$0")/.."
export ROUNDS=${ROUNDS:-200} SEED=${SEED:-1}
exec tests/run.sh --only-soak
