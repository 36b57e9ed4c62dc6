#!/usr/bin/env bash
# Stands in for Slurm's programs, called by their names, to do what a real one does seldom or slowly: limits on submitted
# jobs, a time that is over, jobs that are lost. One job runs at a time. All in the folder $STAND_IN:
#
#   limit       jobs that may be in the queue
#   time_over   a run whose first job gets USR1 at its third step, as when its time is nearly over
#   lose        a run whose job is gone before it starts
#   submitted   written: number, size and dependency of each array
set -euo pipefail
cd "$STAND_IN"
mkdir -p queue process again
touch submitted

value() { cat "$1" 2>/dev/null || true; }

# Runs task $2 of job $1 until it is not put back in the queue.
task() {
    local job=$1 index=$2 name=$3 script=$4 run root restarts=0 id
    id=${job}_$index
    # The run, from the list that the script begins with, and the folder of the whole.
    run=$(sed -n '/^runs=(/,/^)/p' "$script" | sed -n "$((index + 2))s/^ *'\(.*\)'$/\1/p")
    root=$(dirname "$(dirname "$script")")
    export SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$index SLURMD_NODENAME=stand-in
    while [ -e "queue/$id" ]; do
        [ "$run" != "$(value lose)" ] || break
        echo "RUNNING|$name" >"queue/$id"
        bash "$script" &
        echo $! >"process/$id"
        if [ "$run" = "$(value time_over)" ] && [ $restarts = 0 ]; then
            until [ "$(grep -c '"kind":"step"' "$root/$run/metrics.jsonl" 2>/dev/null)" -ge 3 ]; do sleep 0.05; done
            kill -USR1 "$(cat "process/$id")"
        fi
        wait $! || true
        [ -e "again/$id" ] || break
        rm "again/$id"
        restarts=$((restarts + 1))
        export SLURM_RESTART_COUNT=$restarts
    done
    rm -f "queue/$id"
}

case $(basename "$0") in
sbatch)
    name='' size=0 after=''
    for argument; do
        case $argument in
        --test-only) exit 0 ;;
        --job-name=*) name=${argument#*=} ;;
        --array=0-*) size=$((${argument#--array=0-} + 1)) ;;
        --dependency=afterany:*) after=${argument#*:} ;;
        esac
    done
    script=${!#}
    if [ $(($(ls queue | wc -l) + size)) -gt "$(cat limit)" ]; then
        echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
        exit 1
    fi
    job=$(($(wc -l <submitted) + 1))
    for ((index = 0; index < size; index++)); do echo "PENDING|$name" >"queue/${job}_$index"; done
    echo "$job $size after:$after" >>submitted
    (
        for before in ${after//:/ }; do
            while compgen -G "queue/${before}_*" >/dev/null; do sleep 0.1; done
        done
        for ((index = 0; index < size; index++)); do
            # In a shell of its own, as a job ends with all that it set.
            (flock 9 && task "$job" $index "$name" "$script") 9>one_at_a_time
        done
    ) </dev/null >log."$job" 2>&1 &
    echo "$job"
    ;;
squeue)
    for entry in queue/*; do
        [ ! -e "$entry" ] || echo "${entry#queue/}|$(value "$entry")"
    done
    ;;
scontrol)
    case $* in
    "show config") echo "MaxArraySize            = 1001" ;;
    requeue*)
        name=$(value "queue/$2")
        touch "again/$2"
        echo "PENDING|${name#*|}" >"queue/$2"
        kill -KILL "$(cat "process/$2")"
        ;;
    esac
    ;;
esac
