#!/bin/sh
# A real PostgreSQL for tests and `make run-services`: its own cluster in DIR, on loopback, on a free port.
#
#   tests/servers/postgres.sh start DIR      prints JOURNEYLOG_TEST_POSTGRES=postgres://… once it answers
#   tests/servers/postgres.sh stop DIR       stops it, keeps the data
#   tests/servers/postgres.sh restart DIR    same port, same data
#   tests/servers/postgres.sh kill DIR       like a crash
#
# PG_FSYNC=off (default on) trades durability for speed. As root it runs as the user postgres, since the server refuses
# root. It installs nothing: see tests/servers/install.sh.
set -eu

ready_s=60
database=journeylog

die() { echo "postgres.sh: $*" >&2; exit 1; }

find_bin() {
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn); do
        [ -x "$folder/initdb" ] && { echo "$folder"; return; }
    done
    found=$(command -v initdb 2>/dev/null) || die "no PostgreSQL server: run tests/servers/install.sh"
    dirname "$found"
}

# as the server's user; from / since that user may not read the caller's folder
as() { if [ "$(id -u)" = 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); else "$@"; fi; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

configure() {
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || {
        chown postgres: "$dir"
        as test -x "$dir" || die "the user postgres can't reach $dir: take a folder under /tmp"
    }
    as "$bin/initdb" -D "$dir/data" -U journeylog --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync \
        > "$dir/initdb.log" 2>&1 || die "initdb failed: $(cat "$dir/initdb.log")"
    as tee -a "$dir/data/postgresql.conf" > /dev/null <<EOF
listen_addresses = '127.0.0.1'
port = $(free_port)
unix_socket_directories = ''
fsync = ${PG_FSYNC:-on}
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
logging_collector = off
log_min_messages = warning
EOF
}

port() { sed -n 's/^port = //p' "$dir/data/postgresql.conf" | tail -n 1; }

ctl() { as "$bin/pg_ctl" -D "$dir/data" -t $ready_s -w "$@" > /dev/null; }

running() { as "$bin/pg_ctl" -D "$dir/data" status > /dev/null 2>&1; }

start() {
    [ -s "$dir/data/PG_VERSION" ] || configure
    running || ctl -l "$dir/data/server.log" start || die "it doesn't start: $(tail -n 20 "$dir/data/server.log")"
    url=postgres://journeylog@127.0.0.1:$(port)
    "$bin/psql" -qAt "$url/postgres" -c "select 1 from pg_database where datname = '$database'" | grep -q 1 ||
        "$bin/psql" -q "$url/postgres" -c "create database $database"
    echo "JOURNEYLOG_TEST_POSTGRES=$url/$database"
}

stop() { if [ -s "$dir/data/PG_VERSION" ] && running; then ctl -m "$1" stop || true; fi; }

[ $# -eq 2 ] || die "usage: postgres.sh start|stop|restart|kill DIR"
case $2 in /*) dir=$2 ;; *) dir=$PWD/$2 ;; esac
bin=$(find_bin)
case $1 in
    start) start ;;
    stop) stop fast ;;
    kill) stop immediate ;;
    restart) stop fast; start ;;
    *) die "unknown command $1" ;;
esac
