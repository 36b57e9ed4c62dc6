# Sourced by few_labels.sh and all_labels.sh.
# train_and_evaluate CONFIG SEEDS DATA RUN [more arguments of `wgseg train`]
train_and_evaluate() {
    local config=$1 seeds=$2 data=$3 run=$4 seed start
    shift 4
    local root wgseg results=()
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    wgseg=${WGSEG:-$root/target/release/wgseg}
    [ -x "$wgseg" ] || { echo "no $wgseg: run cargo build --release, or set WGSEG" >&2; exit 1; }
    mkdir -p "$run"
    echo "commit $(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown), config $config"
    "$wgseg" adapters || true
    for seed in $seeds; do
        start=$SECONDS
        "$wgseg" train "$root/$config" --data "$data" --out "$run/seed_$seed" --seed "$seed" "$@"
        echo "seed $seed: trained in $((SECONDS - start)) s"
        "$wgseg" evaluate --model "$run/seed_$seed/last.safetensors" --data "$data" --split test \
            --threshold 0.5 --json >"$run/seed_$seed/test.json"
        results+=("$run/seed_$seed/test.json")
    done
    python3 "$root/scripts/measure/mean_dice.py" "${results[@]}"
}
