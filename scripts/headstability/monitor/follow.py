"""A line on the whole study in the log of a run, whenever cells have finished."""

import atexit
import threading
from collections.abc import Callable

from .status import Observer
from .text import headline

# Seconds between two looks, and the longest time between two lines.
INTERVAL, LONGEST = 15.0, 300.0


def follow(
    observer: Observer,
    say: Callable[[str], None],
    interval: float = INTERVAL,
    longest: float = LONGEST,
) -> Callable[[], None]:
    """Say how far a study is while a run goes on; returns what ends this.

    Every `interval` seconds it looks, and says a line if cells have finished; after `longest`
    seconds without one it says one in any case.
    """
    ended = threading.Event()

    def watch() -> None:
        shown, silent = observer.finished_cells(), 0.0
        while not ended.wait(interval):
            cells = observer.finished_cells()
            silent += interval
            if cells != shown or silent >= longest:
                say(headline(observer.look()))
                shown, silent = cells, 0.0

    thread = threading.Thread(target=watch, daemon=True)

    def end() -> None:
        ended.set()
        thread.join(timeout=2.0)

    # A thread that writes while the interpreter is being taken down would crash it.
    atexit.register(end)
    thread.start()
    return end
