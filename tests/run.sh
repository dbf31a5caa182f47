#!/bin/bash
# Runs every test. Installs what they need where it can: as root by apt-get, and Python packages into
# tests/.venv. What cannot be had is skipped, and the summary says so.
#
# PORTICO_PROFILE   Cargo profile (ci)
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PORTICO_PROFILE=${PORTICO_PROFILE:-ci}
. compose/build.sh

summary=()
failed=0
failures=
printed=$(mktemp)
engine=
venv=tests/.venv

# part NAME COMMAND...: runs a part of the tests and remembers how it went. The end of what a part
# that failed has printed is shown once more below the summary.
part() {
    local name=$1 begin=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@" 2>&1 | tee "$printed"; then
        summary+=("passed   $name ($((SECONDS - begin)) s)")
    else
        summary+=("FAILED   $name ($((SECONDS - begin)) s)")
        failures+=$(printf '\n== %s: how it ended\n%s' "$name" "$(tail -n 40 "$printed")")$'\n'
        failed=1
    fi
}

# skip NAME REASON
skip() {
    printf '\n== %s: skipped: %s\n' "$1" "$2"
    summary+=("skipped  $1: $2")
}

# have COMMAND PACKAGE...: whether a command is there, after installing the Debian packages if need be.
have() {
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "installing $*"
    if [ -z "${updated:-}" ]; then
        updated=1
        apt-get -qq update || true
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
    command -v "$command" >/dev/null
}

# test_binaries NAME...: these areas alone; without names, everything that needs only Cargo.
test_binaries() {
    # Always of the whole workspace: with a single package, Cargo builds it with other features.
    local select=(--workspace) name
    for name in "$@"; do
        select+=(--test "$name")
    done
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --cargo-profile "$PORTICO_PROFILE" --profile ci "${select[@]}"
    else
        [ $# -gt 0 ] || select+=(--lib --bins --tests)
        cargo test --locked --profile "$PORTICO_PROFILE" "${select[@]}"
    fi
}

# php_fpm: where php-fpm is, which Debian names by its version.
php_fpm() {
    compgen -c php-fpm | head -n 1 | grep . && return
    have php-fpm php-fpm >&2
    compgen -c php-fpm | head -n 1 | grep .
}

python_packages() {
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/pip" install --quiet --requirement tests/requirements.txt
}

# start_engine: a Docker engine of our own, if none answers.
start_engine() {
    docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] && have dockerd docker.io || return
    engine=$(mktemp -d)
    export DOCKER_HOST=unix://$engine/docker.sock
    local driver end
    for driver in overlay2 vfs; do
        dockerd --host "$DOCKER_HOST" --data-root "$engine/data" --exec-root "$engine/exec" \
            --pidfile "$engine/pid" --storage-driver "$driver" >"$engine/log" 2>&1 &
        engine_pid=$!
        end=$((SECONDS + 30))
        while kill -0 "$engine_pid" 2>/dev/null && [ $SECONDS -lt $end ]; do
            docker info >/dev/null 2>&1 && return
            sleep 0.5
        done
        kill "$engine_pid" 2>/dev/null
        wait "$engine_pid" 2>/dev/null
    done
    engine_pid=
    tail -n 3 "$engine/log" >&2
    return 1
}

stop_engine() {
    if [ -n "${engine_pid:-}" ]; then
        kill "$engine_pid" 2>/dev/null
        wait "$engine_pid" 2>/dev/null
    fi
    [ -z "$engine" ] || rm -rf "$engine"
}
trap 'stop_engine; rm -f "$printed"' EXIT
trap 'exit 130' INT TERM

compose_command() {
    if docker compose version >/dev/null 2>&1; then
        echo "docker compose"
    elif have docker-compose docker-compose >&2; then
        echo "docker-compose"
    else
        return 1
    fi
}

docker_tests() {
    local files
    for files in "" "-f compose/demo.yaml" "-f compose/demo.yaml -f compose/pebble.yaml" "-f compose/fetch.yaml"; do
        # shellcheck disable=SC2086
        DOMAIN=shop.example.com FETCH_NAME=shop.example.com $COMPOSE -f compose/compose.yaml $files config --quiet || return
    done
    PORTICO_BIN_DIR=$BIN_DIR compose/build-images.sh && test_binaries docker
}

printf '== build (%s)\n' "$PORTICO_PROFILE"
begin=$SECONDS
# With the tests, so that what they and the programs share is built once.
build_programs --tests || exit 1
echo "built in $((SECONDS - begin)) s"

# Tests of cert-manager use these two where they are there.
have pebble pebble
have named bind9 || have /usr/sbin/named bind9 ||
    skip "DNS challenges with BIND" "install Debian's package bind9"
part "workspace" test_binaries
if have pebble pebble && have pebble-challtestsrv pebble; then
    part "ACME with Pebble" test_binaries acme
else
    skip "ACME with Pebble" "install Debian's package pebble"
fi
if PHP_FPM=$(php_fpm); then
    export PHP_FPM
    part "PHP" test_binaries php
else
    skip "PHP" "install php-fpm"
fi
if have python3 python3 && python3 -c 'import ensurepip' 2>/dev/null || have pip3 python3-venv python3-pip; then
    if python_packages; then
        PYTHON=$PWD/$venv/bin/python part "other clients" test_binaries clients
        part "Caddy side by side" "$venv/bin/python" tests/differential/run.py --bin "$BIN_DIR"
        part "REDbot, a linter for HTTP" "$venv/bin/python" tests/outside/lint.py --bin "$BIN_DIR"
        if command -v npm >/dev/null; then
            part "the suite of cache-tests.fyi" "$venv/bin/python" tests/outside/cache_suite.py \
                --bin "$BIN_DIR" --keep target/tools/cache-suite
        else
            skip "the suite of cache-tests.fyi" "install Node.js with npm"
        fi
        if have pebble pebble; then
            CADDY=$PWD/$venv/bin/caddy part "moving from and to Caddy" test_binaries caddy
        else
            skip "moving from and to Caddy" "install Debian's package pebble"
        fi
        if have chromium chromium; then
            PATH=$PWD/$venv/bin:$PATH part "Django in a browser" \
                "$venv/bin/python" tests/django/run.py --bin "$BIN_DIR"
        else
            skip "Django in a browser" "install Chromium"
        fi
    else
        skip "other clients, Caddy side by side, REDbot, the suite of cache-tests.fyi, moving from and to Caddy, Django in a browser" \
            "the packages of tests/requirements.txt cannot be installed"
    fi
else
    skip "other clients, Caddy side by side, REDbot, the suite of cache-tests.fyi, moving from and to Caddy, Django in a browser" "install Python 3 with venv"
fi
if ! have docker docker.io; then
    skip "Docker Compose" "install Docker"
elif ! start_engine; then
    skip "Docker Compose" "no Docker engine answers, and none can be started"
elif ! COMPOSE=$(compose_command); then
    skip "Docker Compose" "install docker-compose"
else
    export COMPOSE PORTICO_IMAGES=portico-test
    part "Docker Compose" docker_tests
fi

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
printf '%s' "$failures"
exit $failed
