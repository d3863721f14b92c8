#!/bin/sh
# A Slurm of one machine, to try sweeps on (docs/sweeps.md). Needs root and Debian's packages:
#
#   apt-get install munge slurmctld slurmd slurm-client
#   scripts/slurm_on_one_machine.sh start    start munged, slurmctld and slurmd, and wait until the node is idle
#   export SLURM_CONF=...                    the line that `start` prints; sbatch, squeue and submitit then find this Slurm
#   scripts/slurm_on_one_machine.sh stop     stop them and remove all that they wrote
#
# FOLDER=<folder> for keys, state and logs (/tmp/melt_ser-slurm); CPUS=<number> of jobs at once (4). The partition `urgent`
# takes the place of jobs in `main`: Slurm stops those and queues them again. An installed Slurm is not touched.
set -eu
folder=${FOLDER:-/tmp/melt_ser-slurm}
cpus=${CPUS:-4}
name=$(hostname -s)

fail() {
    echo "error: $1" >&2
    exit 2
}

stop() {
    for daemon in slurmd slurmctld munged; do
        [ -f "$folder/$daemon.pid" ] || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.2
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

start() {
    [ "$(id -u)" = 0 ] || fail "Slurm's daemons need root; run this script as root."
    for program in munged mungekey slurmctld slurmd sinfo; do
        command -v "$program" >/dev/null || fail "$program is missing; apt-get install munge slurmctld slurmd slurm-client."
    done
    [ ! -e "$folder" ] || fail "$folder is there already; run this script with stop first."
    mkdir -p "$folder/state" "$folder/spool"
    mungekey --create --keyfile "$folder/munge.key"
    munged --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
        --log-file "$folder/munged.log" --seed-file "$folder/munged.seed"
    first=$((20000 + 2 * ($$ % 10000))) # two ports of its own, so that several of these do not meet
    cat >"$folder/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$first
SlurmdPort=$((first + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
JobRequeue=1
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=5
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cpus
PartitionName=main Nodes=$name Default=YES PriorityTier=1
PartitionName=urgent Nodes=$name PriorityTier=2 PreemptMode=OFF
END
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld
    slurmd
    for _ in $(seq 100); do
        [ "$(sinfo -h -o %t -p main 2>/dev/null)" = idle ] && ready=1 && break
        sleep 0.3
    done
    if [ -z "${ready:-}" ]; then
        tail -n 5 "$folder"/*.log >&2
        stop
        fail "the node did not become idle; $folder has the logs."
    fi
    echo "export SLURM_CONF=$SLURM_CONF"
}

case "${1:-}" in
start) start ;;
stop)
    stop
    rm -rf "$folder"
    ;;
*) fail "say start or stop; the comment at the top of the script has the rest." ;;
esac
