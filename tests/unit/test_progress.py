"""What jobs say of themselves while they run and when they end."""

import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import job
from headstability.errors import Stopped, UserError
from headstability.storage.progress import JobStatus, Progress, Reading


def test_progress_is_read_as_it_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status = JobStatus("results/demo/logs/train/seed1.log")
    monkeypatch.setattr(Progress, "status", status)
    assert Reading.of(status) is None
    progress = Progress("deep/wd0/seed1", 700, done=100, interval=0)
    progress.started -= 50
    progress.update(400, "loss 4.107, 60,843 tokens/s")
    reading = Reading.of(status)
    assert (reading.done, reading.total) == (400, 700)
    assert reading.note == "loss 4.107, 60,843 tokens/s"
    assert reading.seconds == pytest.approx(50, abs=2)
    shown = f"400/700, {reading.left} left, loss 4.107, 60,843 tokens/s"
    assert capsys.readouterr().err == f"deep/wd0/seed1:  57 % [###########         ] {shown}\n"
    progress.update(700)
    assert Reading.of(status).note == ""
    Progress("x", 5, interval=60).update(1)
    assert Reading.of(status).total == 700, "not before a line is due"
    Progress("x", 5, interval=-1).update(0, "begun")
    assert (Reading.of(status).seconds, Reading.of(status).left) == (None, "?")
    status.path.write_text("{")
    assert Reading.of(status) is None
    status.clear()
    assert not status.path.exists()


def test_without_a_place_for_its_status_a_job_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Progress("x", 5).update(5)
    assert list(tmp_path.iterdir()) == []
    Path(".snakemake").write_text("a file")
    monkeypatch.setattr(Progress, "status", JobStatus("a.log"))
    Progress("x", 5).update(5)
    Progress.status.clear()


@pytest.mark.parametrize(("left", "seconds"), [("00:33", 33), ("12:05", 725), ("2:00:01", 7201)])
def test_times_left_are_shown_with_hours_where_there_are_any(left, seconds):
    assert Reading(0, seconds, 1.0, "").left == left


def test_a_job_says_how_it_ended(tmp_path, monkeypatch):
    """Of a job that failed, its message and its progress; of one that has finished, nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "end_with_snakemake", lambda: None)
    monkeypatch.setattr(job, "Job", lambda snakemake: Progress("cell", 40, interval=-1))
    log = "results/demo/logs/train/seed1.log"
    snakemake = SimpleNamespace(log=[log], rule="train", resources={})
    ways = {"stopped": Stopped, "failed": UserError, "unexpected": ValueError, "done": None}
    found = {}
    for message, error in ways.items():

        def main(progress, message=message, error=error):
            assert JobStatus(log).read() == {}, "what a former attempt said is forgotten"
            progress.update(10)
            if error is not None:
                raise error(message)

        with monkeypatch.context() as patched, suppress(SystemExit):
            patched.setattr(Progress, "status", None)
            patched.setattr(sys, "stdout", sys.stdout)
            patched.setattr(sys, "stderr", sys.stderr)
            job.run(snakemake, main)
        found[message] = JobStatus(log).read()
    assert found["stopped"]["stopped"] is True
    assert found["failed"]["failure"] == "failed"
    assert found["failed"]["stopped"] is False
    assert found["failed"]["progress"]["done"] == 10
    assert found["unexpected"]["failure"].startswith("unexpected ValueError: unexpected\n")
    assert found["done"] == {}
