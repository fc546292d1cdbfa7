#!/bin/sh
# A real Kafka for tests and `make run-services`: one broker (KRaft) on loopback, free ports, its data in DIR.
#
#   tests/servers/kafka.sh start DIR      prints JOURNEYLOG_TEST_KAFKA=127.0.0.1:PORT once it answers
#   tests/servers/kafka.sh stop DIR       stops it, keeps the data
#   tests/servers/kafka.sh restart DIR    same port, same data
#   tests/servers/kafka.sh kill DIR       like a crash
#
# KAFKA_TLS=1 at the first start gives it a second port, SASL_SSL, for the user `journeylog` by PLAIN or SCRAM-SHA-512, printed as
# JOURNEYLOG_TEST_KAFKA_TLS; ..._TLS_CA is the file of the authority that its certificate is from, ..._TLS_PASSWORD the file with
# the password. Both are made then, by OpenSSL 3.
#
# KAFKA_HEAP (default 512m) is the Java heap; KAFKA_FLUSH=1 makes the broker sync every record to the disk. Needs the
# jars that tests/servers/install.sh fetches.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
libs=${JOURNEYLOG_TEST_KAFKA_LIBS:-$here/../../.cache/kafka/libs}
login=org.apache.kafka.common.security
ready_s=180
stop_s=30

die() { echo "kafka.sh: $*" >&2; exit 1; }

alive() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

# three ports that are free now
free_ports() {
    python3 - <<'PY'
import socket
socks = [socket.socket() for _ in range(3)]
for s in socks:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in socks))
PY
}

# what a shell takes for this value, whatever is in it: what is printed goes through eval
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

# an authority, a certificate of it for loopback, and a password; what is secret is in files of this user's alone
secure() {
    mkdir -p "$tls"
    set -- -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650
    (
        umask 077
        openssl rand -hex 24 > "$tls/password" &&
            openssl req -x509 "$@" -keyout "$tls/ca.key" -out "$tls/ca.pem" -subj "/CN=Journeylog tests" &&
            openssl req -x509 "$@" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -keyout "$tls/server.key" -out "$tls/server.crt" \
                -subj "/CN=localhost" -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" \
                -addext "basicConstraints=critical,CA:FALSE" &&
            cat "$tls/server.key" "$tls/server.crt" > "$tls/server.pem" &&
            # an argument a line: a command line is there for all to read
            printf '%s\n' --add-scram "SCRAM-SHA-512=[name=journeylog,password=$(cat "$tls/password")]" > "$tls/scram"
    ) 2> "$tls/log" || die "no certificate (it takes OpenSSL 3 or later, this is $(openssl version)): $(cat "$tls/log")"
}

configure() {
    mkdir -p "$dir/data"
    set -- $(free_ports)
    port=$1 control=$2 secured=$3
    listeners=PLAINTEXT://127.0.0.1:$port
    [ "${KAFKA_TLS:-}" != 1 ] || listeners=$listeners,SASL_SSL://127.0.0.1:$secured
    flush=${KAFKA_FLUSH:+log.flush.interval.messages=1}
    cat > "$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control
listeners=$listeners,CONTROLLER://127.0.0.1:$control
advertised.listeners=$listeners
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=2097152
log.segment.bytes=268435456
controlled.shutdown.enable=true
$flush
EOF
    set --
    if [ "${KAFKA_TLS:-}" = 1 ]; then
        secure
        chmod 600 "$dir/server.properties"
        cat >> "$dir/server.properties" <<EOF
ssl.keystore.type=PEM
ssl.keystore.location=$tls/server.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_journeylog="$(cat "$tls/password")";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
EOF
        echo "$secured" > "$tls/port"
        set -- "@$tls/scram"
    fi
    cat > "$dir/log4j2.yaml" <<EOF
Configuration:
  status: warn
  Appenders:
    Console:
      name: out
      target: SYSTEM_OUT
      PatternLayout:
        pattern: "%d %p %m (%c)%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        ref: out
EOF
    java_run kafka.tools.StorageTool format --cluster-id am91cm5leWxvZy10ZXN0cw --config "$dir/server.properties" \
        "$@" > "$dir/format.log" 2>&1 || die "formatting failed: $(cat "$dir/format.log")"
    echo "$port" > "$dir/port"
}

java_run() {
    heap=${KAFKA_HEAP:-512m}
    java -Xmx"$heap" -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=${KAFKA_JIT:-4} -Djava.awt.headless=true \
        -Dlog4j2.configurationFile="$dir/log4j2.yaml" -cp "$libs/*" "$@"
}

launch() {
    heap=${KAFKA_HEAP:-512m}
    # its own session: a Ctrl-C for the caller must not take the broker along
    setsid java -Xmx"$heap" -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=${KAFKA_JIT:-4} -Djava.awt.headless=true \
        -Dlog4j2.configurationFile="$dir/log4j2.yaml" -cp "$libs/*" kafka.Kafka "$dir/server.properties" \
        >> "$dir/server.log" 2>&1 < /dev/null &
    echo $! > "$dir/pid"
}

# ready when it answers a request for API versions
answers() {
    python3 - "$port" <<'PY'
import socket, struct, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=1) as s:
        s.settimeout(2)
        # ApiVersions v0 and then Metadata v0 of no topic: an unfenced broker lists itself
        for key, body in ((18, b""), (3, struct.pack(">i", 0))):
            head = struct.pack(">hhih", key, 0, 7, 4) + b"test"
            s.sendall(struct.pack(">i", len(head + body)) + head + body)
            size = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))[0]
            answer = s.recv(size, socket.MSG_WAITALL)
    sys.exit(0 if struct.unpack(">i", answer[4:8])[0] > 0 else 1)
except OSError:
    sys.exit(1)
PY
}

start() {
    ls "$libs"/kafka_2.13-*.jar > /dev/null 2>&1 || die "no jars in $libs: run tests/servers/install.sh"
    mkdir -p "$dir"
    if ! alive; then
        [ -s "$dir/port" ] || configure
        launch
    fi
    port=$(cat "$dir/port")
    end=$(($(date +%s) + ready_s))
    until answers; do
        alive || die "it ended: $(tail -n 20 "$dir/server.log")"
        [ "$(date +%s)" -lt "$end" ] || die "not ready after $ready_s s: $(tail -n 20 "$dir/server.log")"
        sleep 0.2
    done
    echo "JOURNEYLOG_TEST_KAFKA=127.0.0.1:$port"
    [ -s "$tls/port" ] || return 0
    echo "JOURNEYLOG_TEST_KAFKA_TLS=127.0.0.1:$(cat "$tls/port")"
    echo "JOURNEYLOG_TEST_KAFKA_TLS_CA=$(quoted "$tls/ca.pem")"
    echo "JOURNEYLOG_TEST_KAFKA_TLS_PASSWORD=$(quoted "$tls/password")"
}

stop() {
    alive || { rm -f "$dir/pid"; return 0; }
    pid=$(cat "$dir/pid")
    kill "$1" "$pid"
    end=$(($(date +%s) + stop_s))
    while kill -0 "$pid" 2>/dev/null; do
        [ "$(date +%s)" -lt "$end" ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$dir/pid"
}

[ $# -eq 2 ] || die "usage: kafka.sh start|stop|restart|kill DIR"
case $2 in /*) dir=$2 ;; *) dir=$PWD/$2 ;; esac
tls=$dir/tls
case $1 in
    start) start ;;
    stop) stop -TERM ;;
    kill) stop -KILL ;;
    restart) stop -TERM; start ;;
    *) die "unknown command $1" ;;
esac
