#!/usr/bin/env bash
# make bench: starts a Kafka broker and PostgreSQL of its own and measures; see crates/journeylog/benches/bench/main.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/servers/install.sh
dir=$(mktemp -d)
chmod 711 "$dir" # PostgreSQL runs as a user of its own where this runs as root
stop() {
  tests/servers/kafka.sh stop "$dir/kafka" >/dev/null 2>&1 || true
  tests/servers/postgres.sh stop "$dir/postgres" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
eval "$(tests/servers/kafka.sh start "$dir/kafka")"
eval "$(tests/servers/postgres.sh start "$dir/postgres")"
export JOURNEYLOG_TEST_KAFKA JOURNEYLOG_TEST_POSTGRES
printf 'machine: %s cores, %s, %s\n' "$(nproc)" "$(awk '/MemTotal/{printf "%.0f GiB", $2/1048576}' /proc/meminfo)" "$(date -u +%F)"
cargo bench --quiet --locked -p journeylog --bench bench -- "$@"
