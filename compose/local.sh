#!/bin/bash
# Builds Portico and runs it here without Docker, until Ctrl-C: local.sh [CADDYFILE]
#
# Without a Caddyfile it serves the demo app on https://localhost:8443, with a certificate of
# Portico's own authority. A Caddyfile of yours is used as it is; /srv/static and /srv/media are
# the folders below .local/srv.
#
# PORTICO_PROFILE   Cargo profile (release)
set -euo pipefail

if [ $# -gt 1 ] || [[ ${1:-} == -* ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
caddyfile=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."
caddyfile=${caddyfile:-$PWD/compose/local.Caddyfile}
if [ ! -r "$caddyfile" ]; then
    echo "cannot read $caddyfile" >&2
    exit 2
fi
. compose/build.sh
build_programs
"$BIN_DIR/proxy" validate --config "$caddyfile"

state=$PWD/.local
logs=$state/logs
mkdir -p "$state"/{control,cert-data,handoff,proxy-data,srv/static,srv/media} "$logs"

declare -A pids
stop() {
    trap - EXIT INT TERM
    kill $(jobs -p) 2>/dev/null || true
    wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run NAME COMMAND...: starts a program; its log is .local/logs/NAME.log.
run() {
    local name=$1
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null &
    pids[$name]=$!
}

# fail NAME REASON: shows a program's last words, and ends.
fail() {
    tail -n 15 "$logs/$1.log" >&2
    echo "$1 $2; more in $logs/$1.log" >&2
    exit 1
}

# ready NAME: waits until a program says that it is ready.
ready() {
    local name=$1 deadline=$((SECONDS + 60)) reason
    until reason=$("$BIN_DIR/$name" health 2>&1); do
        kill -0 "${pids[$name]}" 2>/dev/null || fail "$name" "ended"
        [ $SECONDS -lt $deadline ] || fail "$name" "is not ready ($reason)"
        sleep 0.2
    done
}

export PORTICO_LOG_FORMAT=console PORTICO_STATIC_EVENTS=https://127.0.0.1:7101
if [ "$caddyfile" = "$PWD/compose/local.Caddyfile" ]; then
    run demo-app "$BIN_DIR/demo-app" --listen 127.0.0.1:8000 \
        --static-dir "$state/srv/static" --media-dir "$state/srv/media"
fi
run cert-manager "$BIN_DIR/cert-manager" serve --control "$state/control" \
    --data "$state/cert-data" --listen 127.0.0.1:7070
ready cert-manager
run static-server "$BIN_DIR/static-server" serve --control "$state/control/static-server" \
    --listen 127.0.0.1:7100 --events-listen 127.0.0.1:7101 \
    --volume "/srv/static=$state/srv/static" --volume "/srv/media=$state/srv/media" \
    --untrusted /srv/media --handoff "$state/handoff"
ready static-server
run proxy "$BIN_DIR/proxy" serve --control "$state/control/proxy" --data "$state/proxy-data" \
    --config "$caddyfile" --watch --cert-manager https://127.0.0.1:7070 \
    --static-server http://127.0.0.1:7100 --static-handoff "$state/handoff"
ready proxy

root=$state/cert-data/caddy/pki/authorities/local/root.crt
if [ "$caddyfile" = "$PWD/compose/local.Caddyfile" ]; then
    cat <<EOF

The demo app     https://localhost:8443  (http://localhost:8080 redirects there)
EOF
fi
cat <<EOF
Caddyfile        $caddyfile (changes apply when you save it)
Static, media    $state/srv/static, $state/srv/media
Certificates     $BIN_DIR/cert-manager status
                 $BIN_DIR/cert-manager --control $state/control doctor NAME
Logs             $logs

Names such as localhost have certificates of Portico's own authority. To trust it, import
  $root
as a certificate authority into your browser, or try
  curl --cacert $root https://localhost:8443/

Ctrl-C ends everything.

EOF
tail -q -n 0 -F "$logs"/*.log &
while true; do
    for name in "${!pids[@]}"; do
        kill -0 "${pids[$name]}" 2>/dev/null || fail "$name" "ended"
    done
    # In the background, so that a signal is acted on at once.
    sleep 1 &
    wait $!
done
