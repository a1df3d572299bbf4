"""What every script of a rule has in common: specification, log, guard, messages.

A script is `run(snakemake, main)`: `main` gets a Job, calls the library and writes.
"""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from headstability.errors import DamagedFile, Stopped, UserError
from headstability.storage.files import set_aside, write_failure
from headstability.storage.locks import end_with_snakemake
from headstability.storage.machine import take_gpu
from headstability.storage.progress import JobStatus, Progress
from headstability.workflow.fingerprints import job_code

SCRIPTS = Path(__file__).resolve().parent


class Job:
    """A running job: Snakemake's named files and the specification of what to do."""

    def __init__(self, snakemake: Any) -> None:
        self.input, self.output = snakemake.input, snakemake.output
        self.wildcards, self.resources = snakemake.wildcards, snakemake.resources
        self.threads = snakemake.threads
        self.fingerprint = snakemake.params.spec  # identifies specification and code
        recorded = json.loads(snakemake.params.spec)
        self.spec = recorded["spec"]  # what this job uses of the config, by key
        self.call = recorded["call"]  # what a generic script is told
        self.script = recorded["script"]  # its path below scripts/
        now, then = job_code(SCRIPTS, self.script, self.call), recorded["code"]
        if changed := [name for name in now | then if now.get(name) != then.get(name)]:
            raise UserError(
                f"the code of {self.script} ({', '.join(sorted(changed))}) changed after Snakemake "
                "started: start Snakemake again, so that outputs are recorded with the code that "
                "made them"
            )

    @property
    def function(self) -> Callable[..., Any]:
        """The function a generic script is told to call."""
        module, _, name = self.call["function"].partition(":")
        return getattr(import_module(f"headstability.{module}"), name)

    def arguments(self, kind: str) -> dict[str, Any]:
        """What that function gets of the config, by argument; `kind`: uses or look."""
        keys = self.call[kind].items()
        return {name: self.spec[key.format(**self.wildcards)] for name, key in keys}

    def section(self, prefix: str) -> dict[str, Any]:
        """The values below a key of the config, by the rest of their names."""
        inside = f"{prefix}."
        below = {k.removeprefix(inside): v for k, v in self.spec.items() if k.startswith(inside)}
        return {**self.spec.get(prefix, {}), **below}

    def label(self, *names: str) -> str:
        """The job's wildcards as in paths, for messages."""
        parts = {"weight_decay": "wd{}", "step": "step {}"}
        return "/".join(parts.get(name, "{}").format(self.wildcards[name]) for name in names)


class _Tee:
    """Writes to the terminal and to the job's log; a log on a full disk must not hide a message."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            with suppress(OSError):
                stream.write(text)
                stream.flush()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back: every write is flushed."""

    def isatty(self) -> bool:
        """Never a terminal: programs should not redraw lines."""
        return False


def run(snakemake: Any, main: Callable[[Job], None]) -> None:
    """Run a job: messages for the user go to terminal and log, tracebacks to the log alone."""
    if snakemake is None:  # the script is only loaded (`by_hand`)
        return
    log_path = Path(snakemake.log[0])
    log_path.parent.mkdir(parents=True, exist_ok=True)
    Progress.status = status = JobStatus(log_path)
    status.clear()
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
            status.say(failure=message, stopped=isinstance(error, Stopped))
            raise SystemExit(1) from None
        status.clear()


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
