# What jobs ask of a cluster, and what they must know there (profiles/slurm).
import os
import functools

from headstability.workflow.resources import Needs
from headstability.workflow.slurm import (
    check_site,
    load_site,
    longest_runtime,
    orphans,
    variable,
)

needs = Needs(study)
# Slurm warns all processes of a job at once. The shells around it would die of that, and the job
# with them before it has saved its state.
SHIELD = "trap '' USR1 TERM"
# Rules whose jobs are worth a GPU of their own on a cluster; the profile names them too.
ON_GPU = ("train", "evaluate")


def on_cluster():
    """Whether this is a run that submits its jobs to a cluster."""
    return not workflow.remote_exec and not workflow.local_exec


@functools.cache
def site():
    """The settings of the cluster; wrong ones end the run."""
    return or_stop(load_site)


def on_gpu(rule):
    """Whether the jobs of a rule are submitted to GPUs."""
    return rule in ON_GPU and on_cluster() and bool(site().gpu_partition)


def shield_shells():
    """Have the shells that start jobs ignore warnings.

    A profile does not reach the Snakemake that Slurm starts, which starts another one in a shell.
    """
    settings = workflow.remote_execution_settings
    if settings and not (settings.precommand or "").startswith(SHIELD):
        given = f" && {settings.precommand}" if settings.precommand else ""
        settings.precommand = SHIELD + given


def need(rule, wildcards):
    """What a job needs, once its wildcards are known to be configured."""
    shield_shells()
    require(wildcards)
    return needs.of(rule, wildcards, on_gpu(rule))


@functools.cache
def longest(partition):
    """The longest runtime a cluster allows in a partition, in minutes."""
    return longest_runtime(site(), partition) or sys.maxsize


def memory(rule):
    """A resource: megabytes, growing with the sizes of a job and with the attempt."""

    @asked_often
    def mem_mb(wildcards, attempt):
        return need(rule, wildcards).memory * attempt

    return mem_mb


def minutes(rule):
    """A resource: minutes, growing likewise, but no longer than the cluster allows."""

    @asked_often
    def runtime(wildcards, attempt):
        wanted = need(rule, wildcards).minutes * attempt
        if not on_cluster():
            return wanted
        partition = site().gpu_partition if on_gpu(rule) else site().partition
        return min(wanted, longest(partition))

    return runtime


def enter_cluster():
    """Before the first job is submitted: would Slurm take it, and what must it know?"""
    or_stop(check_site, site())
    if left := orphans(Path.cwd()):
        print(
            f"Slurm still has jobs of a former run in this folder: {' '.join(left)}. What they "
            "work on is refused to others: wait for them, or scancel them.",
            file=sys.stderr,
        )


# Where jobs find a copy of the token file that other jobs of their node made.
if "SLURM_JOB_ID" in os.environ and site().scratch:
    os.environ.setdefault(variable("scratch"), site().scratch)
