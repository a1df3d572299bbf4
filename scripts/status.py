"""Say how far a study is: what is done, what runs, how long the rest takes. Changes nothing.

python scripts/status.py [--configfile FILE] [--watch [SECONDS]], or
make status CONFIG=FILE; make watch CONFIG=FILE
"""

import argparse
import sys
import time

from headstability.errors import UserError
from headstability.monitor.status import Observer
from headstability.monitor.text import overview
from headstability.study.config_file import read_config
from headstability.study.study import Study
from headstability.workflow.run_file import plan_of

# Moves to the upper left corner and clears what was there.
CLEAR = "\x1b[H\x1b[2J"


def watch(observer: Observer, interval: float) -> None:
    """Show a study until no run is going on: in place on a terminal, else whenever it changed."""
    terminal, last = sys.stdout.isatty(), ""
    while True:
        state = observer.look()
        text = overview(state)
        if terminal:
            print(f"{CLEAR}{text}", flush=True)
        elif text != last:
            print(f"{text}\n", flush=True)
        last = text
        if not state.alive:
            return
        time.sleep(interval)


def main() -> None:
    """Print the overview once, or again and again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", default="config.yaml", help="the study")
    parser.add_argument(
        "--watch", nargs="?", type=float, const=0.0, metavar="SECONDS", help="again and again"
    )
    chosen = parser.parse_args()
    try:
        study = Study(read_config(chosen.configfile))
        observer = Observer(study, plan_of(chosen.configfile)[0])
        if chosen.watch is None:
            print(overview(observer.look()))
        else:
            watch(observer, chosen.watch or (5.0 if sys.stdout.isatty() else 60.0))
    except UserError as error:
        sys.exit(f"\nError: {error}\n")
    except KeyboardInterrupt:
        sys.exit(130)


main()
