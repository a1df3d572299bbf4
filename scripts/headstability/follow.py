"""A line on the whole study in the log of a run, whenever cells have finished."""

import atexit
import threading
from collections.abc import Callable

from .snapshot import DONE, Snapshot
from .status import Observer
from .status_text import headline

# Seconds between two looks, and the longest time between two lines.
INTERVAL, LONGEST = 15.0, 300.0


def follow(
    observer: Observer,
    say: Callable[[str], None],
    interval: float = INTERVAL,
    longest: float = LONGEST,
) -> Callable[[], None]:
    """Say how far a study is, beside the run that makes it.

    Args:
        observer: of the study.
        say: takes a line.
        interval: seconds between two looks; a line appears if cells have finished.
        longest: seconds after which a line appears in any case.

    Returns:
        What ends it; the end of the process does, too.
    """
    ended = threading.Event()

    def watch() -> None:
        shown, silent = _cells(observer.look()), 0.0
        while not ended.wait(interval):
            snapshot = observer.look()
            silent += interval
            if _cells(snapshot) != shown or silent >= longest:
                say(headline(snapshot))
                shown, silent = _cells(snapshot), 0.0

    thread = threading.Thread(target=watch, daemon=True)

    def end() -> None:
        ended.set()
        thread.join(timeout=2.0)

    # A thread that writes while the interpreter is being taken down would crash it.
    atexit.register(end)
    thread.start()
    return end


def _cells(snapshot: Snapshot) -> int:
    """Finished cells."""
    return snapshot.counts.get("cells", {}).get(DONE, 0)
