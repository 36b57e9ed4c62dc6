#!/usr/bin/env bash
# All checks: format, lints, tests. Says at the end how long each took.
#
# On Debian 12 it also fetches two further software drivers into target/drivers, and under CI=true installs the compilers
# that `wgseg inspect` gives kernels to, Dawn, and onnxruntime and TensorBoard for Python. Tests of what cannot be had are skipped, and say so.
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

# What only some tests need.
optional() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name: $*"
    "$@" </dev/null || echo "== $name: not all could be had, the tests that need it are skipped"
    times+=("$name $((SECONDS - start)) s")
}

stage setup bash scripts/setup.sh
if grep -q 'VERSION_CODENAME=bookworm' /etc/os-release 2>/dev/null; then
    optional drivers bash scripts/drivers.sh swiftshader llvmpipe-gl
    if [ "${CI:-}" = true ]; then
        optional compilers bash scripts/offline_compilers.sh
        if command -v npm >/dev/null 2>&1; then optional dawn bash scripts/webgpu.sh; fi
        if command -v python3 >/dev/null 2>&1; then optional python bash scripts/python.sh; fi
    fi
fi
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
