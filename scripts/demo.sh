#!/usr/bin/env bash
# The whole way on synthetic data: makes a phantom set, trains, evaluates, draws overlays.
#
#   scripts/demo.sh [OUT] [more arguments of `wgseg demo`]      OUT: wgseg-demo
set -euo pipefail
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-wgseg-demo}
shift $(($# > 0))
case $out in
/*) ;;
*) out=$PWD/$out ;;
esac

bash "$root/scripts/setup.sh"
cd "$root"
cargo build --release --locked
"${CARGO_TARGET_DIR:-target}/release/wgseg" demo --out "$out" "$@"
echo
echo "The demo is in $out:"
(cd "$out" && ls -p)
