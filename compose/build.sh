# Sourced by the scripts that need the programs. The current folder must be the checkout.

# build_programs [CARGO-OPTION...]: builds every program in the Cargo profile PORTICO_PROFILE
# (release) and sets BIN_DIR. With PORTICO_BIN_DIR the programs there are taken instead.
build_programs() {
    local profile=${PORTICO_PROFILE:-release} triple
    if [ -n "${PORTICO_BIN_DIR:-}" ]; then
        BIN_DIR=$PORTICO_BIN_DIR
        return
    fi
    cargo build --locked --workspace --bins --profile "$profile" "$@" || return
    triple=$(rustc -vV | sed -n 's/^host: //p')
    # Cargo keeps what it builds in the profile `dev` in a folder of another name.
    [ "$profile" != dev ] || profile=debug
    BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/$triple/$profile
}
