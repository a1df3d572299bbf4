#!/bin/bash
# A pilot: one Slurm job that runs a whole study on one node, many small jobs side by side.
# Submit it from the repository, with your cluster's options before it and Snakemake's after it:
#   sbatch --account=... --partition=... [--gpus=2] profiles/slurm/pilot.sh --configfile studies/my.yaml
# Two minutes before its limit, running jobs save their state; submit the same line again to continue.
#SBATCH --job-name=headstability-pilot
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=24G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=results/pilot-%j.log
set -euo pipefail
PATH="$PWD/.venv/bin:$PATH"
options=(--cores "${SLURM_CPUS_PER_TASK:-1}")
limits=(${SLURM_MEM_PER_NODE:+mem_mb="$SLURM_MEM_PER_NODE"})
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
  # Small models leave most of a GPU idle: this many jobs share one.
  export HEADSTABILITY_CELLS_PER_GPU=${HEADSTABILITY_CELLS_PER_GPU:-4}
  IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
  limits+=(gpu_slots=$((${#gpus[@]} * HEADSTABILITY_CELLS_PER_GPU)))
fi
[ ${#limits[@]} -eq 0 ] || options+=(--resources "${limits[@]}")

python scripts/unlock.py "$@"
set -m # Snakemake and its jobs in a process group of their own, so that all are told to stop
snakemake "$@" "${options[@]}" &
run=$!
set +m
stopped=
trap 'stopped=yes; kill -TERM -- "-$run"' USR1 TERM
while kill -0 "$run" 2>/dev/null; do
  wait "$run" || true # ends early when a signal comes
done
code=0
wait "$run" || code=$?
if [ -n "$stopped" ] && [ "$code" -ne 0 ]; then
  echo "The allocation ends; states are saved. Submit the same line again to go on."
fi
exit "$code"
