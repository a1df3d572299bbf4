"""Locks that die with their process, and jobs that end with their Snakemake."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstability.errors import UserError
from headstability.storage import locks as liveness
from headstability.storage.files import write_bytes
from headstability.storage.locks import (
    STARTED_BY,
    begin_run,
    exclusive_lock,
    is_running,
    last_run,
    mark_running,
)

SCRIPTS = Path(liveness.__file__).resolve().parents[2]
PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from headstability.storage.locks import *
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts Python code in tmp_path and waits for its first line."""
    started = []

    # This process has called mark_running itself: its number must not reach the children.
    clean = {name: value for name, value in os.environ.items() if name != STARTED_BY}

    def begin(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program, *map(str, arguments)],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(SCRIPTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        process.first_line = process.stdout.readline().strip()
        assert process.first_line, "the process ended before it was ready"
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def kill(process, number=signal.SIGKILL):
    process.send_signal(number)
    process.wait(timeout=60)


# --- a run is going on --------------------------------------------------------------------

MARK = "mark_running(); print('marked', flush=True); time.sleep(60)"


def test_a_run_is_noticed_until_it_is_killed(tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    assert not is_running()
    first, second = start(MARK), start(MARK)
    assert is_running()
    kill(first)
    assert is_running(), "the other one is still at work"
    kill(second)
    assert len(list(liveness.RUNNING.iterdir())) == 2
    assert not is_running()
    assert not is_running(), "looking leaves no lock behind"
    third = start(MARK)
    assert len(list(liveness.RUNNING.iterdir())) == 1, "marks of the killed ones are removed"
    assert is_running()
    kill(third, signal.SIGTERM)
    assert not is_running()


def test_looking_does_not_keep_a_run_from_being_marked(tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    kill(start(MARK))
    looking = start("print(is_running(), flush=True); time.sleep(60)")
    assert looking.first_line == "False"
    start(MARK)
    assert is_running()


def test_an_unknown_state_counts_as_running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (liveness.RUNNING / "here-1").mkdir(parents=True)
    assert is_running()


def test_a_folder_that_cannot_be_marked_stops_nobody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").write_text("a file")
    mark_running()


def test_file_systems_without_locks_stop_nobody(tmp_path, monkeypatch):
    def flock(handle, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    mark_running()
    begin_run("demo")
    assert is_running(), "nobody knows"
    assert last_run("demo").held is None
    write_bytes(Path("file"), b"content")
    assert Path("file").read_bytes() == b"content"
    for _ in range(2):
        exclusive_lock(Path("lock"), "cell", patience=0).release()


# --- one process at a time ----------------------------------------------------------------

HOLD = """
lock = exclusive_lock(Path(sys.argv[1]), "cell")
print("locked", flush=True)
time.sleep(60)
"""


def test_a_lock_is_held_by_one_living_process(tmp_path, start):
    path = tmp_path / ".resume" / "lock"
    holder = start(HOLD, path)
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        exclusive_lock(path, "deep/wd0/seed1", patience=0.5)
    assert 0.5 <= time.monotonic() - began < 10
    message = str(caught.value)
    assert message.startswith("deep/wd0/seed1: another process is at work on it")
    assert f"fuser {path}" in message
    assert "run the same command again" in message
    kill(holder)
    exclusive_lock(path, "cell", patience=0).release()


def test_a_lock_is_given_up_while_another_waits(tmp_path, start):
    path = tmp_path / "lock"
    release = "lock = exclusive_lock(Path(sys.argv[1]), 'a'); print('locked', flush=True)\n"
    release += "time.sleep(1); lock.release(); time.sleep(60)"
    start(release, path)
    began = time.monotonic()
    exclusive_lock(path, "b", patience=30).release()
    assert 0.5 < time.monotonic() - began < 20


def test_one_process_can_lock_again_after_release(tmp_path):
    first = exclusive_lock(tmp_path / "lock", "a", patience=0)
    with pytest.raises(UserError):
        exclusive_lock(tmp_path / "lock", "b", patience=0)
    first.release()
    exclusive_lock(tmp_path / "lock", "c", patience=0).release()


REMOVE = """
import shutil
lock = exclusive_lock(Path(sys.argv[1]), "a")
print("locked", flush=True)
time.sleep(1)
shutil.rmtree(Path(sys.argv[1]).parent)
Path(sys.argv[1]).parent.mkdir()
lock.release()
time.sleep(60)
"""


def test_a_lock_on_a_file_that_its_holder_removed_does_not_count(tmp_path, start):
    """Who waited must hold the file that is there: others would lock a new one beside it."""
    path = tmp_path / ".resume" / "lock"
    start(REMOVE, path)
    lock = exclusive_lock(path, "b", patience=30)
    assert path.exists()
    with pytest.raises(UserError):
        exclusive_lock(path, "c", patience=0)
    lock.release()


# --- ending with Snakemake ----------------------------------------------------------------

# Starts a job through a shell, as Snakemake does, and tells its process id.
RUNNER = """
job = "from headstability.storage.locks import *; import time; end_with_snakemake(0.1); "
job += "print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run(f'"{sys.executable}" -c "{job}"; true', shell=True)
"""
PARENT = f"mark_running()\n{RUNNER}"


def state(pid):
    """The letter of a process's state; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def gone(pid, within):
    deadline = time.monotonic() + within
    while state(pid) not in (None, "Z"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_with_the_snakemake_that_started_it(start, number):
    parent = start(PARENT)
    pid = int(parent.first_line)
    assert not gone(pid, within=0.5), "it must work as long as Snakemake does"
    kill(parent, number)
    assert gone(pid, within=30)


def test_a_killed_snakemake_that_nobody_waits_for_counts_as_gone(start):
    """A zombie, as in a container whose first process reaps nobody."""
    parent = start(PARENT)
    pid = int(parent.first_line)
    parent.send_signal(signal.SIGKILL)
    assert gone(pid, within=30)
    assert state(parent.pid) == "Z"


def test_a_job_is_told_by_sigterm(tmp_path, start):
    """So that training can save and leave in order."""
    job = PARENT.replace(
        "end_with_snakemake(0.1); ",
        "import signal, sys; "
        "signal.signal(signal.SIGTERM, lambda *_: (open('told', 'w').close(), sys.exit())); "
        "end_with_snakemake(0.1); ",
    )
    parent = start(job)
    kill(parent)
    assert gone(int(parent.first_line), within=30)
    assert (tmp_path / "told").exists()


def test_a_job_that_no_snakemake_started_goes_on(start):
    parent = start(RUNNER)
    pid = int(parent.first_line)
    kill(parent)
    try:
        assert not gone(pid, within=1)
    finally:
        os.kill(pid, signal.SIGKILL)
