#!/bin/bash
# Builds the images from this checkout with the Rust toolchain of this machine; no base image needed.
#
# PORTICO_PROFILE   Cargo profile (release)
# PORTICO_IMAGES    prefix of the images' names (portico)
# PORTICO_VERSION   their tag (latest)
set -euo pipefail
cd "$(dirname "$0")/.."
. compose/build.sh

images=${PORTICO_IMAGES:-portico}
version=${PORTICO_VERSION:-latest}
roots=$(mktemp -d)
trap 'rm -rf "$roots"' EXIT

build_programs
compose/image-roots.sh "$BIN_DIR" "$roots"

# image NAME [CHANGE...]: an image of $roots/NAME; a change is a Dockerfile instruction.
image() {
    local name=$1 changes=() change
    shift
    for change in "$@"; do
        changes+=(--change "$change")
    done
    tar --create --numeric-owner --owner=0 --group=0 \
        --directory "$roots/$name/program" --file "$roots/$name.tar" .
    (cd "$roots/$name/state" && tar --append --numeric-owner --owner=65532 --group=65532 \
        --file "$roots/$name.tar" -- *)
    docker import "${changes[@]}" "$roots/$name.tar" "$images/$name:$version" >/dev/null
    echo "built $images/$name:$version"
}

for program in proxy static-server cert-manager; do
    image "$program" "USER 65532:65532" "ENTRYPOINT [\"/bin/$program\"]" 'CMD ["serve"]'
done
image demo-app "USER 65532:65532" 'ENTRYPOINT ["/bin/demo-app"]'

# Pebble is linked dynamically, so its libraries come along; its own HTTPS needs a certificate,
# whose root cert-manager is told to trust.
if command -v pebble >/dev/null && command -v openssl >/dev/null; then
    root=$roots/pebble
    mkdir -p "$root/program/bin" "$root/program/etc/pebble" "$root/state/tmp" .local/pebble
    install -m 0755 "$(command -v pebble)" "$root/program/bin/pebble"
    ldd "$root/program/bin/pebble" | grep -o '/[^ ]*' | while read -r library; do
        install -D -m 0755 "$library" "$root/program$library"
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj /CN=pebble -addext basicConstraints=CA:FALSE \
        -addext subjectAltName=DNS:pebble,DNS:localhost \
        -keyout "$root/program/etc/pebble/pebble.key" -out .local/pebble/pebble.pem 2>/dev/null
    chmod 0644 "$root/program/etc/pebble/pebble.key"
    install -m 0644 .local/pebble/pebble.pem compose/pebble.json "$root/program/etc/pebble/"
    image pebble "USER 65532:65532" 'ENTRYPOINT ["/bin/pebble"]'
fi
