#!/usr/bin/env bash
# All checks: format, lints, tests. Says at the end how long each took.
set -euo pipefail
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
times=()

stage() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name: $*"
    if ! "$@" </dev/null; then
        echo "== $name FAILED after $((SECONDS - start)) s" >&2
        exit 1
    fi
    times+=("$name $((SECONDS - start)) s")
}

stage setup bash scripts/setup.sh
if cargo fmt --version >/dev/null 2>&1; then
    stage format cargo fmt --check
else
    echo "== format: left out, rustfmt is not installed"
fi
if cargo clippy --version >/dev/null 2>&1; then
    stage lints cargo clippy --release --locked --all-targets -- -D warnings
else
    echo "== lints: left out, clippy is not installed"
fi
stage build cargo test --release --locked --no-run
stage tests cargo test --release --locked
printf '== all passed:'
printf ' %s;' "${times[@]}"
echo " total $SECONDS s"
