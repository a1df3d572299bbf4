"""What the estimate says of the smoke study, and what its run has left."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from driver import ROOT, SMOKE, dry_run

from headstability.study.study import Study
from headstability.workflow.estimate import Estimate


@pytest.fixture(scope="module")
def jobs(smoke):
    """All jobs of the smoke study."""
    return dry_run(smoke, *SMOKE)[1].jobs


@pytest.fixture
def stages(jobs, monkeypatch, tmp_path):
    """What is estimated of the smoke study as it is before it has run."""
    monkeypatch.chdir(tmp_path)
    return Estimate(Study(yaml.safe_load((ROOT / SMOKE[1]).read_text())), jobs).stages()


def sizes(smoke):
    paths = [path for path in (smoke / "results/smoke").rglob("*") if path.is_file()]
    # A test of the session may have looked at the files, which leaves a log.
    return {
        str(path.relative_to(smoke)): path.stat().st_size
        for path in paths
        if path.name != "verify.log"
    }


def test_files_and_disk_are_what_was_estimated(smoke, stages):
    found = sizes(smoke)
    assert sum(stage.files for stage in stages) == pytest.approx(len(found), rel=0.02)
    assert sum(stage.size for stage in stages) == pytest.approx(sum(found.values()), rel=0.1)


# Of the stages that take most of a study's disk each is right, not only their sum.
@pytest.mark.parametrize("rule", ["corpus", "tokens", "train", "cache", "similarity"])
def test_large_stages_are_what_was_estimated(smoke, jobs, stages, rule):
    found = sizes(smoke)
    size = sum(found[path] for job in jobs if job.rule == rule for path in job.outputs)
    (stage,) = (stage for stage in stages if stage.rule == rule)
    assert stage.size == pytest.approx(size, rel=0.1)


def test_the_command_of_the_makefile(smoke):
    command = [sys.executable, "scripts/estimate.py", "--configfile", SMOKE[1]]
    done = subprocess.run(command, cwd=smoke, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = len(sizes(smoke))
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("together"))
    assert int(line.split()[2]) == pytest.approx(files, rel=0.02)
    assert Path(smoke, "Makefile").read_text().count("scripts/estimate.py") == 1
