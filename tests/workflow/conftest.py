import os
import shutil
import signal

import pytest
from cluster import cluster, why_not
from driver import SMOKE, TINY, copy_repository, snakemake, write_tiny
from filelock import FileLock

# Shells start background jobs with SIGINT ignored, and children inherit that: Ctrl-C could not be
# tested there.
signal.signal(signal.SIGINT, signal.default_int_handler)


def made_once(tmp_path_factory, name, run):
    """A copy of the repository in which `run` has been done, a copy for every worker's own use."""
    own = tmp_path_factory.mktemp(name) / "repository"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        run(copy_repository(own))
        return own
    shared = tmp_path_factory.getbasetemp().parent / name
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            made = copy_repository(shared.with_name(f"{name}.part"))
            run(made)
            made.rename(shared)
    return shutil.copytree(shared, own, symlinks=True)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy of the repository in which the smoke study has run."""

    def run(folder):
        (folder / "run.log").write_text(snakemake(folder, "--cores", "2", *SMOKE))

    return made_once(tmp_path_factory, "smoke", run)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A copy of the repository in which the study TINY has run, uninterrupted."""

    def run(folder):
        write_tiny(folder)
        snakemake(folder, "--cores", "2", *TINY)

    return made_once(tmp_path_factory, "tiny", run)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running one-node cluster, or the reason why there is none."""
    if reason := why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as home:
        yield home
