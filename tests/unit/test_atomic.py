"""A file is written whole under a name of its own, however many write it at once."""

import fcntl
import signal
import subprocess
import time

import pytest
from writers import names, start

from headstability.storage import files

# Writes half a file, says so, and waits for a line before it writes the rest.
SLOW_WRITER = """
with files.atomic_path(sys.argv[1]) as part:
    with open(part, "wb") as handle:
        handle.write(b"a" * 1000)
        handle.flush()
        print("half", flush=True)
        sys.stdin.readline()
        handle.write(b"a" * 1000)
"""


@pytest.fixture
def slow(tmp_path):
    """A function that starts a slow writer of a path; whatever is left of them is killed."""
    started = []

    def begin(path):
        process = start(SLOW_WRITER, path, stdin=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == "half\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_block_that_succeeds_writes_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    with files.atomic_path(path) as part:
        part.write_bytes(b"new")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["x.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def write():
        with files.atomic_path(path) as part:
            part.write_bytes(b"ne")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, slow):
    path = tmp_path / "x.bin"
    other = tmp_path / ".y.bin.host-1.part"
    other.write_bytes(b"another file's")
    process = slow(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [name for name in names(tmp_path) if name != other.name]
    assert len(left) == 1
    assert left[0].startswith(".x.bin.")
    files.write_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == sorted(["x.bin", other.name])


def test_a_live_writer_keeps_its_file_beside_another(tmp_path, slow):
    path = tmp_path / "x.bin"
    first, second = slow(path), slow(path)
    assert len(names(tmp_path)) == 2
    files.write_bytes(path, b"third")
    assert path.read_bytes() == b"third"
    assert len(names(tmp_path)) == 3
    for process in (first, second):
        _, errors = process.communicate("go on\n", timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert path.read_bytes() == b"a" * 2000
    assert names(tmp_path) == ["x.bin"]


def before_first_lock(monkeypatch, act):
    """Have `act` happen right before the first lock that `files` takes."""
    lock = fcntl.flock
    pending = [act]

    def flock(handle, how):
        if pending:
            pending.pop()()
        return lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    return pending


def test_a_file_removed_before_it_was_locked_is_created_again(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"

    def remove():
        (part,) = tmp_path.iterdir()
        part.unlink()

    pending = before_first_lock(monkeypatch, remove)
    with files.atomic_path(path) as part:
        assert names(tmp_path) == [part.name]
        part.write_bytes(b"whole")
    assert not pending
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["x.bin"]


def test_a_writer_that_has_begun_anew_keeps_its_file(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    part = tmp_path / ".x.bin.host-1.part"
    part.write_bytes(b"first")

    def go_on():
        part.rename(path)
        part.write_bytes(b"second")

    pending = before_first_lock(monkeypatch, go_on)
    files.write_bytes(path, b"another's")
    assert not pending
    assert part.read_bytes() == b"second"
    assert names(tmp_path) == [part.name, "x.bin"]


def test_concurrent_writers_never_mix(tmp_path):
    path = tmp_path / "x.bin"
    program = (
        "for _ in range(30):\n    files.write_bytes(sys.argv[1], sys.argv[2].encode() * 50_000)\n"
    )
    writers = [start(program, path, letter) for letter in "abc"]
    seen = set()
    while any(process.poll() is None for process in writers):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 50_000
            seen.add(content[:1])
            assert content == content[:1] * 50_000
        time.sleep(0.001)
    assert [process.communicate()[1] for process in writers] == ["", "", ""]
    assert [process.returncode for process in writers] == [0, 0, 0]
    assert seen
    assert names(tmp_path) == ["x.bin"]
