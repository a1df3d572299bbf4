"""What jobs on one node share."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstability.errors import UserError
from headstability.storage import machine as node
from headstability.storage.files import write_json
from headstability.storage.machine import CELLS_PER_GPU, SCRATCH, node_copy, take_gpu
from headstability.text.token_files import open_tokens

SCRIPTS = Path(node.__file__).resolve().parents[2]
DATA = np.arange(1000, dtype="<u2").tobytes()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def shared(tmp_path):
    path = tmp_path / "shared" / "train.bin"
    path.parent.mkdir()
    path.write_bytes(DATA)
    return path


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "scratch"))
    monkeypatch.setenv(SCRATCH, "$NODE_DISK")
    return tmp_path / "scratch"


def test_the_first_job_copies_and_the_others_use_its_copy(shared, scratch):
    copy = node_copy(shared, SHA256)
    assert copy.is_relative_to(scratch)
    assert copy.read_bytes() == DATA
    made = copy.stat().st_mtime_ns, copy.stat().st_ino
    assert node_copy(shared, SHA256) == copy
    assert (copy.stat().st_mtime_ns, copy.stat().st_ino) == made


def test_a_damaged_copy_is_made_again(shared, scratch):
    copy = node_copy(shared, SHA256)
    copy.write_bytes(DATA[:-2])
    assert node_copy(shared, SHA256).read_bytes() == DATA


def test_token_files_are_read_from_the_copy(shared, scratch, tmp_path):
    split = {"tokens": 1000, "documents": 1, "sha256": SHA256}
    manifest = {"dtype": "<u2", "bos": 0, "vocabulary": 1000, "splits": {"train": split}}
    write_json(tmp_path / "tokens.json", manifest)
    tokens = open_tokens(tmp_path / "tokens.json", shared, "train", node_copy)
    assert Path(tokens.ids.filename).is_relative_to(scratch)
    assert (tokens.ids == np.arange(1000)).all()


@pytest.mark.parametrize("value", [None, "", "$NOT_ON_THIS_NODE/x"])
def test_without_a_disk_of_its_own_the_file_itself_is_read(shared, monkeypatch, value):
    monkeypatch.delenv(SCRATCH, raising=False)
    if value is not None:
        monkeypatch.setenv(SCRATCH, value)
    assert node_copy(shared, SHA256) == shared


def test_a_disk_that_cannot_be_written_is_said_and_left(shared, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(SCRATCH, str(tmp_path / "file"))
    assert node_copy(shared, SHA256) == shared
    assert f"Reading {shared} itself: no copy in {tmp_path / 'file'}" in capsys.readouterr().out


def test_jobs_that_start_together_copy_once(shared, scratch):
    program = (
        "import shutil, sys, time; from headstability.storage import machine as node\n"
        "copy = shutil.copyfile\n"
        "def slowly(*paths): print('copied'); time.sleep(0.3); return copy(*paths)\n"
        "shutil.copyfile = slowly; node.node_copy(*sys.argv[1:])"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(shared), SHA256],
            env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert sum(job.communicate()[0].count("copied") for job in jobs) == 1


# --- GPUs ---------------------------------------------------------------------------------

TAKE = (
    "import sys; from headstability.storage.machine import take_gpu; "
    "print(take_gpu(), flush=True); sys.stdin.read()"
)


@pytest.fixture
def take(tmp_path, monkeypatch):
    """A function that starts a job which takes a GPU, and tells which."""
    jobs = []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    monkeypatch.setenv(CELLS_PER_GPU, "2")

    def begin():
        job = subprocess.Popen(
            [sys.executable, "-c", TAKE],
            env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        jobs.append(job)
        return job, job.stdout.readline().strip()

    yield begin
    for job in jobs:
        job.kill()
        job.communicate()


def test_jobs_spread_over_the_gpus_and_leave_their_place_when_they_die(take, tmp_path, monkeypatch):
    first, gpu = take()
    assert gpu == "0"
    assert [take()[1] for _ in range(3)] == ["3", "0", "3"]
    monkeypatch.setattr(node.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="all 2 places on each of the GPUs 0, 3 are taken"):
        take_gpu(patience=0.3)
    first.kill()
    first.wait()
    assert take()[1] == "0"


def test_a_gpu_that_slurm_gave_a_job_alone_is_kept(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    monkeypatch.delenv(CELLS_PER_GPU, raising=False)
    assert take_gpu() is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
