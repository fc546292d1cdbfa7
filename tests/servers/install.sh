#!/bin/sh
# Gets what building, testing and `make run-services` need beyond a plain Debian: packages, only those that are missing,
# and Kafka's jars, by Maven, into .cache/kafka/libs. Quick when everything is there. As root, or with sudo.
#
#   --with-nginx     also nginx (make run-services, make test)
#   --with-python    also Python's clients in .cache/python (make test)
#   --with-java      also a JDK, and what tests/java needs in .cache/java (make test)
#   --build-only     no servers: what `make run` needs
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
missing=

nginx= python= jdk= servers=1
for option; do
    case $option in
    --with-nginx) nginx=1 ;;
    --with-python) python=1 ;;
    --with-java) jdk=1 ;;
    --build-only) servers= ;;
    *) echo "install.sh: unknown option $option" >&2; exit 2 ;;
    esac
done

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
[ -z "$nginx" ] || have nginx || [ -x /usr/sbin/nginx ] || need nginx-light
[ -z "$servers" ] || have initdb || ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || need postgresql
# the broker needs Java 17 or later
java=99
[ -z "$servers" ] || java=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
[ "${java:-0}" -ge 17 ] || need default-jre-headless
# version 3, for the certificates of kafka.sh
[ -z "$servers" ] || have openssl || need openssl
[ -z "$servers" ] || have mvn || need maven
[ -z "$jdk" ] || have javac || need default-jdk-headless

if [ -n "$missing" ]; then
    echo "installing:$missing" >&2
    as=
    [ "$(id -u)" = 0 ] || as=sudo
    $as apt-get update -qq
    # shellcheck disable=SC2086 # a list
    $as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
fi

if ! have cargo; then
    echo "install.sh: needs Rust (cargo) 1.95 or later, by rustup" >&2
    exit 1
fi

if [ -n "$python" ] && ! cmp -s "$root/tests/python/requirements.txt" "$root/.cache/python/.complete"; then
    echo "fetching Python's clients" >&2
    python3 -m venv "$root/.cache/python"
    "$root/.cache/python/bin/pip" install --quiet --disable-pip-version-check -r "$root/tests/python/requirements.txt"
    cp "$root/tests/python/requirements.txt" "$root/.cache/python/.complete"
fi

[ -n "$servers" ] || exit 0
libs=$root/.cache/kafka/libs
stamp=$libs/.complete
if ! cmp -s "$root/deploy/kafka/pom.xml" "$stamp"; then
    echo "fetching Kafka's jars" >&2
    rm -rf "$libs"
    mvn -q -B -f "$root/deploy/kafka/pom.xml" dependency:copy-dependencies > /dev/null
    cp "$root/deploy/kafka/pom.xml" "$stamp"
fi

libs=$root/.cache/java/libs
if [ -n "$jdk" ] && ! cmp -s "$root/tests/java/pom.xml" "$libs/.complete"; then
    echo "fetching Java's serializer" >&2
    rm -rf "$libs"
    mvn -q -B -f "$root/tests/java/pom.xml" dependency:copy-dependencies > /dev/null
    cp "$root/tests/java/pom.xml" "$libs/.complete"
fi
