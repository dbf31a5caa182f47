# Shortcuts; each recipe is one command that can be typed as well.

# List the recipes
default:
    @just --list

# Everything that must pass
ci:
    .ci/run

# All tests
test:
    tests/run.sh

# Unit tests and the end-to-end tests that need nothing but Cargo
quick:
    cargo build --workspace --bins
    cargo test --workspace

# Fuzz the Caddyfile language and routing, each for SECONDS (needs cargo-fuzz)
fuzz SECONDS="60" *TARGETS:
    proxy/fuzz/run.sh -max_total_time={{SECONDS}} {{TARGETS}}

# Format and lint
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# The demo on https://localhost:8443
run *CADDYFILE:
    compose/local.sh {{CADDYFILE}}

# Container images
images:
    compose/build-images.sh
