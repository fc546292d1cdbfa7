#!/usr/bin/env bash
# make test: installs what the tests need, starts a Kafka broker and PostgreSQL of its own, runs everything.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/servers/install.sh --with-python --with-java --with-nginx
dir=$(mktemp -d)
chmod 711 "$dir" # PostgreSQL runs as a user of its own where this runs as root
stop() {
  tests/servers/kafka.sh stop "$dir/kafka" >/dev/null 2>&1 || true
  tests/servers/postgres.sh stop "$dir/postgres" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
eval "$(KAFKA_TLS=1 tests/servers/kafka.sh start "$dir/kafka")"
eval "$(tests/servers/postgres.sh start "$dir/postgres")"
export JOURNEYLOG_TEST_KAFKA JOURNEYLOG_TEST_POSTGRES
export JOURNEYLOG_TEST_KAFKA_TLS JOURNEYLOG_TEST_KAFKA_TLS_CA JOURNEYLOG_TEST_KAFKA_TLS_PASSWORD
export JOURNEYLOG_TEST_MILLION=1 # lines that are to take little memory; a bare cargo test takes 200,000
export JOURNEYLOG_TEST_KAFKA_DIR=$dir/kafka JOURNEYLOG_TEST_POSTGRES_DIR=$dir/postgres
if [ "${1:-}" = --only-soak ]; then
  cargo test --locked -p journeylog --test faults --test rebuild --test inbox -- --nocapture
  exit
fi
cargo test --workspace --locked "$@"
.cache/python/bin/python -m pytest -q tests/python
# Said here too, and last: cargo shows little of a test that passes.
[ -d ../shared/data ] || echo 'SKIPPED: the tests of real data, since ../shared/data is not beside the project' >&2
