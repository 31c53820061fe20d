#!/usr/bin/env bash
# Starts a real one-machine Slurm cluster for tests, or stops it.
#   slurm.sh start DIR [NODES]   writes DIR/slurm.conf and starts munged, slurmctld and one slurmd a node
#   slurm.sh stop DIR
# Needs root and Debian's packages: slurmctld slurmd slurm-client munge.
# Partitions: low (preempted jobs are requeued), spot (preempted jobs are cancelled: the user's signal at once, the
# end within half a minute), high (preempts both). Arrays hold at most 11 tasks. Written for Slurm 22.05.
# Use the cluster with SLURM_CONF=DIR/slurm.conf. DIR must be reachable by user munge (mode 755 up to /).
set -euo pipefail
action=${1:?start or stop} dir=${2:?directory} nodes=${3:-1}

if [ "$action" = stop ]; then
  export SLURM_CONF=$dir/slurm.conf
  squeue -h -o %A | xargs -r scancel || true
  sleep 2
  scontrol shutdown || true
  for pid in "$dir"/*.pid; do [ -e "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true; done
  exit 0
fi

host=$(hostname -s)
mkdir -p "$dir"/{state,log,munge}
chmod 755 "$dir"
cp /etc/munge/munge.key "$dir/munge/munge.key"
chown -R munge: "$dir/munge"
chmod 400 "$dir/munge/munge.key"

{
  cat <<CONF
ClusterName=ablate
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/munge.sock
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
MaxArraySize=11
JobRequeue=1
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobcomp.txt
CONF
  for ((i = 0; i < nodes; i++)); do
    echo "NodeName=node$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((17000 + i)) CPUs=2 RealMemory=4000 State=UNKNOWN"
  done
  echo "PartitionName=low Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP"
  echo "PartitionName=spot Nodes=ALL PriorityTier=1 PreemptMode=CANCEL GraceTime=5 MaxTime=INFINITE State=UP"
  echo "PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP"
} > "$dir/slurm.conf"
mkdir -p $(for ((i = 0; i < nodes; i++)); do echo "$dir/spool.node$i"; done)

runuser -u munge -- /usr/sbin/munged --force --socket="$dir/munge/munge.sock" --key-file="$dir/munge/munge.key" \
  --pid-file="$dir/munge/munged.pid" --log-file="$dir/munge/munged.log" --seed-file="$dir/munge/seed"
cp "$dir/munge/munged.pid" "$dir/munged.pid"
export SLURM_CONF=$dir/slurm.conf
slurmctld
sleep 1
for ((i = 0; i < nodes; i++)); do slurmd -N "node$i"; done
for _ in $(seq 30); do
  [ "$(sinfo -h -o %t -t idle -N | wc -l)" -ge "$nodes" ] && { sinfo; exit 0; }
  sleep 1
done
echo "nodes did not become idle; see $dir/log" >&2
exit 1
