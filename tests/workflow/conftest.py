import signal

import pytest
from cluster import cluster, why_not
from driver import SMOKE, TINY, copy_repository, snakemake, write_tiny

# Shells start background jobs with SIGINT ignored, and children inherit that: Ctrl-C could not be
# tested there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy of the repository in which the smoke study has run."""
    folder = copy_repository(tmp_path_factory.mktemp("smoke") / "repository")
    output = snakemake(folder, "--cores", "2", *SMOKE)
    (folder / "run.log").write_text(output)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A copy of the repository in which the study TINY has run, uninterrupted."""
    folder = copy_repository(tmp_path_factory.mktemp("tiny") / "repository")
    write_tiny(folder)
    snakemake(folder, "--cores", "2", *TINY)
    return folder


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running one-node cluster, or the reason why there is none."""
    if reason := why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as home:
        yield home
