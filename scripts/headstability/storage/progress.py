"""What a job says of itself while it works: lines for people, and a file that `status` reads."""

import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from tqdm import tqdm

from ..errors import UserError
from .files import read_json, write_json

JOBS = Path(".snakemake", "headstability.jobs")


class JobStatus:
    """The file that says how far a job is, and of what it failed; there until it has finished.

    It lies beside Snakemake's records: the folder of the study holds results.
    """

    def __init__(self, log: str | Path) -> None:
        """The file of the job with this log (relative to the repository); it is not read yet."""
        self.path = (JOBS / log).with_suffix(".json")
        self._said: dict[str, Any] = {}

    def say(self, **said: object) -> None:
        """Add to what the file says; a disk that takes no more must not stop a job."""
        self._said |= said
        with suppress(UserError, OSError):
            write_json(self.path, self._said)

    def clear(self) -> None:
        """Remove the file: the job begins or has finished."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """What the job said: `progress`, `failure` (its message), `stopped` (if by a signal)."""
        with suppress(UserError):  # nothing, or a damaged file
            return read_json(self.path)
        return {}


@dataclass(frozen=True)
class Reading:
    """How far a job is."""

    done: int  # of whatever is counted, such as steps
    total: int
    rate: float | None  # of these per second, since this attempt began
    note: str  # what else is shown, such as the loss and tokens/s

    @property
    def seconds(self) -> float | None:
        """The time left; None if unknown."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def left(self) -> str:
        """The time left as it is shown, such as 01:49; ? if unknown."""
        return "?" if self.seconds is None else tqdm.format_interval(self.seconds)

    @classmethod
    def of(cls, status: JobStatus) -> Self | None:
        """What a job last said of its progress; None if it said nothing."""
        found = status.read().get("progress")
        return found and cls(**found)


class Progress:
    """Prints one line with a bar, the rate and the time left, at most every `interval` seconds.

    Whole lines: bars redrawn in place would overwrite each other and fill logs with control codes.
    """

    # Of the job that this process runs, which is told the same; None outside of jobs.
    status: ClassVar[JobStatus | None] = None

    def __init__(self, label: str, total: int, done: int = 0, interval: float = 15.0) -> None:
        self.label, self.total, self.interval = label, total, interval
        self.start_count = done
        self.started = self.printed = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of the total is finished; prints when it is due or all is done."""
        now = time.monotonic()
        if done < self.total and now - self.printed < self.interval:
            return
        self.printed = now
        bar = tqdm.format_meter(
            done,
            self.total,
            now - self.started,
            ncols=100,
            initial=self.start_count,
            bar_format="{percentage:3.0f} % [{bar:20}] {n_fmt}/{total_fmt}, {remaining} left",
            ascii=" #",
        )
        print(f"{self.label}: {bar}{', ' + note if note else ''}", file=sys.stderr, flush=True)
        if self.status is not None:
            rate = (done - self.start_count) / max(now - self.started, 1e-9)
            self.status.say(progress=asdict(Reading(done, self.total, rate or None, note)))
