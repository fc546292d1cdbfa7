#!/usr/bin/env bash
# make run: every role in one process, log and views in two SQLite files, sample journeys.
set -euo pipefail
. "$(dirname "$0")/common.sh"
build --build-only
dir=$run_dir/embedded
mkdir -p "$dir"
site "$dir"
log=sqlite:$dir/log.db
sample "$dir" "$log"
"$journeylog" --log "$log" --store "sqlite:$dir/views.db" --listen "$listen" all &
server=$!
trap 'kill -TERM $server 2>/dev/null || true; wait $server || true' EXIT
trap 'exit 130' INT TERM
where_to_look $server
wait $server
