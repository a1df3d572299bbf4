"""Progress lines that stay readable when several jobs share a terminal or write to log files."""

import sys
import time

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
