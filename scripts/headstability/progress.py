"""Progress lines that stay readable when several jobs share a terminal or write to log files."""

import re
import sys
import time
from dataclasses import dataclass

from tqdm import tqdm


class Progress:
    """Prints one line with a bar, the rate and the time left, at most every `interval` seconds.

    Whole lines, not a bar redrawn in place: two cells that train side by side would overwrite
    each other's, and a log file would fill with control characters.
    """

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


@dataclass(frozen=True)
class Reading:
    """What a progress line says.

    Attributes:
        done, total: of whatever is counted, such as steps.
        left: time left as it is shown, such as 01:49; ? if unknown.
        note: what stands after it, such as the loss and tokens/s.
    """

    done: int
    total: int
    left: str
    note: str

    @property
    def seconds(self) -> float | None:
        """The time left in seconds; None if unknown."""
        if "?" in self.left:
            return None
        found = 0
        for part in self.left.split(":"):
            found = 60 * found + int(part)
        return float(found)


_LINE = re.compile(
    r"^.+: +\d+ % \[[# ]*\] (\d+)/(\d+), ([\d:?]+) left(?:, (.*))?$", flags=re.MULTILINE
)


def last_reading(log: str) -> Reading | None:
    """The last progress line of a log; None if there is none."""
    lines = _LINE.findall(log)
    if not lines:
        return None
    done, total, left, note = lines[-1]
    return Reading(int(done), int(total), left, note)
