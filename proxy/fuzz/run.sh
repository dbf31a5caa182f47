#!/bin/bash
# Runs fuzz targets: run.sh [LIBFUZZER_OPTION...] [TARGET...], such as
#
#     run.sh -max_total_time=60 language
#
# They begin with the seeds, and with the cases of tests/differential. What is found later is kept
# in corpus/; an input that fails is written to artifacts/ and belongs into seeds/ with its fix.
set -euo pipefail
cd "$(dirname "$0")"

options=()
while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
done
[ $# -gt 0 ] || set -- language routing
cargo fuzz --version >/dev/null || {
    echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2
    exit 1
}
cases=$(mktemp -d)
trap 'rm -rf "$cases"' EXIT
awk -v folder="$cases" '
    /^=== / { close(file); file = folder "/" ++count; next }
    file { print > file }
' ../../tests/differential/cases/*.txt

for target in "$@"; do
    mkdir -p "corpus/$target"
    # No sanitizer: the code is safe Rust, and the stable compiler has none.
    cargo fuzz run --fuzz-dir . --sanitizer none --features "${target/language/}" "$target" \
        "corpus/$target" seeds "$cases" -- \
        "${options[@]}" -timeout=10 -max_len=8192 -dict=words.dict
done
