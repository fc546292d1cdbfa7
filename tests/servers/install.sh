#!/bin/sh
# Gets what building, testing and `make run-services` need beyond a plain Debian: packages, only those that are missing,
# and Kafka's jars, by Maven, into .cache/kafka/libs. Quick when everything is there. As root, or with sudo.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
missing=

have() { command -v "$1" > /dev/null 2>&1; }
need() { missing="$missing $*"; }

have gcc && have g++ && have make || need build-essential
have cmake || need cmake
have pkg-config || need pkg-config
have curl || need curl
have jq || need jq
have git || need git
have python3 || need python3
python3 -c 'import venv, ensurepip' 2> /dev/null || need python3-venv
[ -e /usr/include/openssl/ssl.h ] || need libssl-dev
[ -e /usr/include/zlib.h ] || need zlib1g-dev
have initdb || ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || need postgresql
# the broker needs Java 17 or later
java=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
[ "${java:-0}" -ge 17 ] || need default-jre-headless
have mvn || need maven

if [ -n "$missing" ]; then
    echo "installing:$missing" >&2
    as=
    [ "$(id -u)" = 0 ] || as=sudo
    $as apt-get update -qq
    # shellcheck disable=SC2086 # a list
    $as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
fi

libs=$root/.cache/kafka/libs
stamp=$libs/.complete
if ! cmp -s "$root/deploy/kafka/pom.xml" "$stamp"; then
    echo "fetching Kafka's jars" >&2
    rm -rf "$libs"
    mvn -q -B -f "$root/deploy/kafka/pom.xml" dependency:copy-dependencies > /dev/null
    cp "$root/deploy/kafka/pom.xml" "$stamp"
fi
