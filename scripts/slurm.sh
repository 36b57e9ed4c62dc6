#!/usr/bin/env bash
# A Slurm of two nodes on this machine, to see `--executor slurm` do its work: munged, slurmctld and two slurmd, all in
# target/slurm, on ports of the loopback address; nothing of it starts with the machine.
#
#   scripts/slurm.sh start    starts it; on Debian and Ubuntu installs slurm-wlm and munge first where they are not there
#   scripts/slurm.sh stop     ends it, with all jobs, and removes what they left in target/slurm
#   scripts/slurm.sh env      the variables by which sbatch, squeue, … find it: eval "$(scripts/slurm.sh env)"
#   scripts/slurm.sh status   its nodes and jobs
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=$root/target/slurm
export PATH="$PATH:/usr/sbin:/sbin"
nodes=(one two)

say() { printf 'slurm: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

install() {
    local missing=0 tool
    for tool in munged slurmctld slurmd sbatch; do command -v "$tool" >/dev/null || missing=1; done
    if [ $missing = 0 ]; then return; fi
    command -v apt-get >/dev/null || die "there is no Slurm here: install slurmctld, slurmd, sbatch and munged"
    [ "$(id -u)" = 0 ] || die "there is no Slurm here: as root, apt-get install slurm-wlm munge"
    say "installing slurm-wlm and munge with apt; their services stay off, as this script starts its own"
    # Else the packages start services by the system's own configuration, which there is none of.
    local policy=/usr/sbin/policy-rc.d made=0
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        made=1
    fi
    local failed=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurm-wlm munge; } </dev/null >"$home/apt.log" 2>&1 || failed=1
    if [ $made = 1 ]; then rm $policy; fi
    [ $failed = 0 ] || { tail -n 3 "$home/apt.log" >&2; die "apt does not give slurm-wlm and munge"; }
}

# Ports of their own, by the folder, so that two copies of the repository do not meet.
port() { echo $((20000 + $(printf '%s' "$root" | cksum | cut -d ' ' -f 1) % 4000 * 4 + $1)); }

configure() {
    local host user number=0 node
    host=$(hostname -s)
    user=$(id -un)
    mkdir -p "$home"/{munge,state,log}
    chmod 755 "$home" "$home/munge" "$home/state"
    [ -s "$home/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$home/munge/key")
    {
        echo "ClusterName=wgseg"
        echo "SlurmctldHost=$host(127.0.0.1)"
        echo "SlurmctldPort=$(port 0)"
        echo "SlurmUser=$user"
        echo "SlurmdUser=$user"
        echo "AuthType=auth/munge"
        # A job that is put back in the queue waits for so many seconds; 120 where nothing is said.
        echo "AuthInfo=socket=$home/munge/socket,cred_expire=5"
        echo "CredType=cred/munge"
        echo "StateSaveLocation=$home/state"
        echo "SlurmctldPidFile=$home/slurmctld.pid"
        echo "SlurmctldLogFile=$home/log/slurmctld"
        echo "SlurmdPidFile=$home/slurmd.%n.pid"
        echo "SlurmdLogFile=$home/log/slurmd.%n"
        echo "SlurmdSpoolDir=$home/spool.%n"
        echo "ProctrackType=proctrack/linuxproc"
        echo "TaskPlugin=task/none"
        echo "JobAcctGatherType=jobacct_gather/none"
        echo "AccountingStorageType=accounting_storage/none"
        echo "SwitchType=switch/none"
        echo "MpiDefault=none"
        echo "SelectType=select/cons_tres"
        echo "SelectTypeParameters=CR_CPU"
        echo "SchedulerParameters=batch_sched_delay=0,sched_interval=1,defer_batch"
        echo "KillWait=5"
        echo "MinJobAge=30"
        echo "ReturnToService=2"
        echo "SlurmdTimeout=30"
        for node in "${nodes[@]}"; do
            number=$((number + 1))
            echo "NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$(port $number) CPUs=1 State=UNKNOWN"
        done
        echo "PartitionName=gpu Nodes=$(IFS=,; echo "${nodes[*]}") Default=YES MaxTime=60 State=UP"
    } >"$home/slurm.conf"
    # No cgroups: containers have none to give.
    printf 'CgroupAutomount=no\n' >"$home/cgroup.conf"
}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

# Waits at most 15 s until a command succeeds.
until_() {
    local tries=150
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

idle() { [ "$(sinfo -h -N -o %T | grep -c -E 'idle|mixed|allocated')" = ${#nodes[@]} ]; }

start() {
    mkdir -p "$home"
    install
    configure
    export SLURM_CONF=$home/slurm.conf
    if ! alive "$home/munge/pid"; then
        rm -f "$home"/munge/socket*
        # --force: it must not mind who owns the folders above.
        munged --force --num-threads=2 --key-file="$home/munge/key" --socket="$home/munge/socket" \
            --pid-file="$home/munge/pid" --log-file="$home/munge/log" --seed-file="$home/munge/seed" \
            >/dev/null 2>&1 || die "munged does not start: $(tail -n 2 "$home/munge/log" 2>/dev/null)"
    fi
    alive "$home/slurmctld.pid" || slurmctld >/dev/null 2>&1 ||
        die "slurmctld does not start: $(tail -n 2 "$home/log/slurmctld" 2>/dev/null)"
    until_ scontrol ping || die "slurmctld does not answer: see $home/log/slurmctld"
    local node
    for node in "${nodes[@]}"; do
        mkdir -p "$home/spool.$node"
        alive "$home/slurmd.$node.pid" || slurmd -N "$node" >/dev/null 2>&1 ||
            die "slurmd $node does not start: $(tail -n 2 "$home/log/slurmd.$node" 2>/dev/null)"
    done
    until_ idle || die "the nodes do not come up: see $home/log; $(sinfo -N 2>&1 | tail -n 2)"
    say "two nodes are up; to use them: eval \"\$(scripts/slurm.sh env)\""
}

stop() {
    local pid file
    if alive "$home/slurmctld.pid"; then
        # It waits long where munged has ended.
        SLURM_CONF=$home/slurm.conf timeout 10 scancel --quiet --user="$(id -un)" >/dev/null 2>&1 || true
        sleep 1
    fi
    for file in "$home"/slurmd.*.pid "$home/slurmctld.pid" "$home/munge/pid"; do
        if alive "$file"; then
            pid=$(cat "$file")
            kill "$pid"
            until_ eval "! kill -0 $pid" || kill -9 "$pid"
        fi
    done
    rm -rf "$home"
}

case ${1:-} in
start) start ;;
stop) stop ;;
env) printf 'export SLURM_CONF=%q\n' "$home/slurm.conf" ;;
status) SLURM_CONF=$home/slurm.conf sinfo -N && SLURM_CONF=$home/slurm.conf squeue ;;
*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; [ $# = 0 ] ;;
esac
