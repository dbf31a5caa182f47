#!/bin/sh
# Lays out the root file systems of the images: image-roots.sh BIN_DIR OUT
#
# OUT/IMAGE/program belongs to root; OUT/IMAGE/state belongs to the user that the program runs as, so
# that a named volume mounted there starts out with that owner.
set -eu
bin_dir=$1
out=$2

# root IMAGE "PROGRAM..." "FOLDER..."
root() {
    mkdir -p "$out/$1/program/bin" "$out/$1/state"
    for program in $2; do
        install -m 0755 "$bin_dir/$program" "$out/$1/program/bin/$program"
    done
    for folder in $3; do
        mkdir -p "$out/$1/state/$folder"
    done
}

root proxy "proxy ingress" "control data run/portico/files"
root static-server "static-server" "control run/portico/files"
root cert-manager "cert-manager" "data control/proxy control/static-server control/operator"
root demo-app "demo-app" "srv/static srv/media"
