"""Say what a study takes before it is started: jobs, files, disk, operations, time.

python scripts/estimate.py [--configfile FILE] [--device NAME] [--workers N], or
make estimate CONFIG=FILE DEVICE=NAME CORES=N
"""

import argparse
import os
import sys

from headstability.errors import UserError
from headstability.study.config_file import read_config
from headstability.study.study import Study
from headstability.workflow.estimate import DEVICES, Estimate, as_text, speed_of
from headstability.workflow.run_file import plan_of


def main() -> None:
    """Print the table of stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", default="config.yaml")
    parser.add_argument("--device", choices=sorted(DEVICES), help="a GPU instead of this machine")
    parser.add_argument("--workers", type=int, help="jobs side by side (cores; with --device 1)")
    chosen = parser.parse_args()
    try:
        study = Study(read_config(chosen.configfile))
        plan, _ = plan_of(chosen.configfile)
    except UserError as error:
        sys.exit(f"\nError: {error}\n")
    speed, name = speed_of(chosen.device)
    workers = chosen.workers or (1 if chosen.device else len(os.sched_getaffinity(0)))
    print(as_text(Estimate(study, plan.jobs).stages(), speed, workers, name))


if __name__ == "__main__":
    main()
