#!/usr/bin/env bash
# Stands in for Slurm's programs, called by their names, to do what a real one does seldom or slowly: limits on submitted
# jobs, a time that is over, jobs that are held or lost, a controller that is slow. One job runs at a time. All in the
# folder $STAND_IN:
#
#   limit       jobs that may be in the queue
#   slow        seconds that sbatch takes before the jobs are in the queue
#   held        while it is there, jobs wait and are said to be held
#   time_over   a run whose first job gets USR1 at its third step, as when its time is nearly over
#   lose        a run whose job is gone before it starts
#   submitted   written: number, size and dependency of each array
set -euo pipefail
cd "$STAND_IN"
program=$(basename "$0")
# What the user set for other commands, or a job that this command itself is: it would hide jobs, or start new ones wrongly.
# A job calls scontrol, and has a count of its own.
for name in SQUEUE_STATES SCANCEL_STATE SBATCH_CLUSTERS SBATCH_WAIT SLURM_RESTART_COUNT; do
    [ $program = scontrol ] || [ -z "${!name:-}" ] || { echo "$program: error: $name is passed on" >&2; exit 1; }
done
mkdir -p queue process again
touch submitted

value() { cat "$1" 2>/dev/null || true; }

# As a job waits for its step or its end: not for ever.
until_() {
    local tries=6000
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

room_for() { [ $(($(ls queue | wc -l) + $1)) -le "$(cat limit)" ]; }

third_step() { [ "$(grep -c '"kind":"step"' "$1/metrics.jsonl" 2>/dev/null)" -ge 3 ]; }

# Runs task $2 of job $1 until it is not put back in the queue.
task() {
    local job=$1 index=$2 name=$3 script=$4 run root restarts=0 id
    id=${job}_$index
    # The run, from the list that the script begins with, and the folder of the whole.
    run=$(sed -n '/^runs=(/,/^)/p' "$script" | sed -n "$((index + 2))s/^ *'\(.*\)'$/\1/p")
    root=$(dirname "$(dirname "$script")")
    export SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$index SLURMD_NODENAME=stand-in
    until_ [ ! -e held ]
    while [ -e "queue/$id" ]; do
        [ "$run" != "$(value lose)" ] || break
        echo "RUNNING|None|$name" >"queue/$id"
        # Without the lock, which what a script leaves would keep.
        bash "$script" 9>&- &
        echo $! >"process/$id"
        if [ "$run" = "$(value time_over)" ] && [ $restarts = 0 ] && until_ third_step "$root/$run"; then
            kill -USR1 "$(cat "process/$id")"
        fi
        wait $! || true
        [ -e "again/$id" ] || break
        rm "again/$id"
        restarts=$((restarts + 1))
        export SLURM_RESTART_COUNT=$restarts
    done
    rm -f "queue/$id" "process/$id"
}

case $program in
sbatch)
    name='' size=1 after='' test_only=0
    for argument; do
        case $argument in
        --test-only) test_only=1 ;;
        --job-name=*) name=${argument#*=} ;;
        --array=0-*) size=$((${argument#--array=0-} + 1)) ;;
        --dependency=afterany:*) after=${argument#*:} ;;
        esac
    done
    script=${!#}
    if ! room_for $size; then
        echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
        exit 1
    fi
    [ $test_only = 0 ] || exit 0
    touch submitting
    sleep "0$(value slow)"
    rm submitting
    job=$(($(wc -l <submitted) + 1))
    for ((index = 0; index < size; index++)); do echo "PENDING|Priority|$name" >"queue/${job}_$index"; done
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
        [ -e "$entry" ] || continue
        line=$(value "$entry")
        if [ -e held ]; then line=${line/PENDING|Priority/PENDING|JobHeldAdmin}; fi
        echo "${entry#queue/}|$line"
    done
    ;;
scancel)
    for job; do
        for entry in queue/"$job"_*; do
            [ -e "$entry" ] || continue
            # One that runs leaves the queue when it has ended.
            if grep -q ^RUNNING "$entry"; then kill -TERM "$(value "process/${entry#queue/}")"; else rm "$entry"; fi
        done
    done
    ;;
scontrol)
    case $* in
    "show config") echo "MaxArraySize            = 1001" ;;
    requeue*)
        line=$(value "queue/$2")
        touch "again/$2"
        echo "PENDING|BeginTime|${line##*|}" >"queue/$2"
        kill -KILL "$(cat "process/$2")"
        ;;
    esac
    ;;
esac
