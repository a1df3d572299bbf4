"""What every script of a rule has in common: specification, log, guard, messages.

A script is `run(snakemake, main)`: `main` gets a Job, calls the library and writes.
"""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from headstability.codehash import code_hashes
from headstability.errors import DamagedFile, UserError
from headstability.files import set_aside, write_failure
from headstability.liveness import end_with_snakemake
from headstability.node import take_gpu


class Job:
    """A running job: Snakemake's named files and the specification of what to do.

    Attributes:
        input, output, wildcards, resources, threads: as Snakemake gives them.
        spec: the part of the config this job depends on.
        fingerprint: identifies specification and code.
    """

    def __init__(self, snakemake: Any) -> None:
        self.input, self.output = snakemake.input, snakemake.output
        self.wildcards, self.resources = snakemake.wildcards, snakemake.resources
        self.threads = snakemake.threads
        self.fingerprint = snakemake.params.spec
        recorded = json.loads(snakemake.params.spec)
        self.spec = recorded["spec"]
        script = Path(snakemake.scriptdir, f"{snakemake.rule}.py")
        now, then = code_hashes(script), recorded["code"]
        if changed := [name for name in now | then if now.get(name) != then.get(name)]:
            raise UserError(
                f"the code of {script.name} ({', '.join(sorted(changed))}) changed after Snakemake "
                "started: start Snakemake again, so that outputs are recorded with the code that "
                "made them"
            )

    def label(self, *names: str) -> str:
        """The job's wildcards as in paths, for messages."""
        parts = {"weight_decay": "wd{}", "step": "step {}"}
        shown = [parts.get(name, "{}").format(self.wildcards[name]) for name in names]
        return "/".join(shown)


class _Tee:
    """Writes to the terminal and to the job's log; a log on a full disk must not hide a message."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            try:
                stream.write(text)
                stream.flush()
            except OSError:
                continue
        return len(text)

    def flush(self) -> None:
        """Nothing is held back: every write is flushed."""

    def isatty(self) -> bool:
        """Never a terminal: programs should not redraw lines."""
        return False


def run(snakemake: Any, main: Callable[[Job], None]) -> None:
    """Run a job: messages for the user go to terminal and log, tracebacks to the log alone."""
    log_path = Path(snakemake.log[0])
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with open(log_path, "w", encoding="utf-8") as log:
        sys.stdout = sys.stderr = _Tee(sys.stderr, log)
        end_with_snakemake()
        try:
            if snakemake.resources.get("gpu_slots"):
                take_gpu()
            main(Job(snakemake))
        except Exception as error:
            message = _message(error, log_path)
            traceback.print_exc(file=log)
            print(f"\nError in {snakemake.rule}: {message}\n", file=sys.stderr)
            raise SystemExit(1) from None


def _message(error: Exception, log_path: Path) -> str:
    if isinstance(error, DamagedFile):
        return set_aside(error)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        return (
            f"{error.filename} is missing, perhaps set aside as damaged by another job: "
            "run the same command again"
        )
    if isinstance(error, OSError) and error.filename:
        return str(write_failure(Path(str(error.filename)), error))
    if isinstance(error, MemoryError):
        return "out of memory: run fewer jobs at once (--cores) or use a machine with more"
    return f"unexpected {type(error).__name__}: {error}\nThe traceback is in {log_path}"


class StopSignals:
    """Remembers the first of SIGTERM, SIGINT and SIGUSR1, so that training can leave in order."""

    def __init__(self) -> None:
        self.received: str | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.received = self.received or signal.Signals(number).name

    def __call__(self) -> str | None:
        """The name of the signal received, if any."""
        return self.received
