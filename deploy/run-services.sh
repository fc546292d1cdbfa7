#!/usr/bin/env bash
# make run-services: Kafka, PostgreSQL, the gateway, three projectors, the read API and nginx in front, each a process.
set -euo pipefail
. "$(dirname "$0")/common.sh"
build --with-nginx
dir=$run_dir/services
mkdir -p "$dir/nginx"
# As root, PostgreSQL runs as its own user, who can't look into every folder of root's: it gets one elsewhere, for these data alone.
postgres_dir=$dir/postgres
if [ "$(id -u)" = 0 ]; then
  [ -s "$dir/postgres-folder" ] || mktemp -d /var/tmp/journeylog-postgres.XXXXXX >"$dir/postgres-folder"
  postgres_dir=$(cat "$dir/postgres-folder")
fi
pids=()
stop() {
  trap - EXIT INT TERM
  say "Stopping …"
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait "${pids[@]}" 2>/dev/null || true
  tests/servers/kafka.sh stop "$dir/kafka" || true
  tests/servers/postgres.sh stop "$postgres_dir" || true
}
trap stop EXIT
trap 'exit 130' INT TERM

say "Starting Kafka and PostgreSQL …"
eval "$(tests/servers/kafka.sh start "$dir/kafka")"
eval "$(tests/servers/postgres.sh start "$postgres_dir")"
log="kafka://$JOURNEYLOG_TEST_KAFKA/journey.events?partitions=6&replication=1"
store=$JOURNEYLOG_TEST_POSTGRES
site "$dir"

host=${listen%:*} port=${listen##*:}
serve() { # port offset, name, command …
  local at=$host:$((port + $1)) name=$2
  shift 2
  "$journeylog" --log "$log" --store "$store" --listen "$at" "$@" 2>"$dir/$name.log" &
  pids+=($!)
  wait_for "http://$at/readyz" 60 "$name (see $dir/$name.log)" "${pids[-1]}"
}
serve 1 ingest ingest
sample "$dir" "$log"
serve 3 timeline project timeline
serve 4 mot project mot
serve 5 follow-ups project follow-ups
serve 2 query query
[ -z "$hl7" ] || serve 6 hl7 ingest hl7
serve 7 inbox ingest inbox

sed -e "s/@LISTEN@/$listen/; s/@INGEST@/$host:$((port + 1))/; s/@QUERY@/$host:$((port + 2))/; s#@DIR@#$dir/nginx#g" \
  deploy/nginx.conf >"$dir/nginx/nginx.conf"
PATH=$PATH:/usr/sbin nginx -e "$dir/nginx/error.log" -p "$dir/nginx" -c "$dir/nginx/nginx.conf" -g 'daemon off;' &
pids+=($!)
where_to_look "${pids[-1]}"
cat <<TXT

Kafka: $JOURNEYLOG_TEST_KAFKA, topics journey.events and journey.inbox (docs/publishing/kafka.md); PostgreSQL: $store
Processes: gateway :$((port + 1)), read API :$((port + 2)), projectors :$((port + 3)) to :$((port + 5)), HL7 :$((port + 6)), inbox :$((port + 7)) (/metrics, /readyz)
For operators' commands: export JOURNEYLOG_LOG__URL='$log' JOURNEYLOG_STORE__URL=$store
Logs: $dir/*.log; PostgreSQL's data: $postgres_dir
TXT
wait -n "${pids[@]}" || true
say "A process ended; see $dir/*.log"
exit 1
