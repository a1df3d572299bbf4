"""Say why targets would be rebuilt: the config key, the module or the file behind it.

python scripts/why.py [TARGET ...] [--configfile FILE], or make why TARGET=... CONFIG=...
"""

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

from headstability.errors import UserError
from headstability.monitor.why import (
    input_reasons,
    parameter_reasons,
    recorded_jobs,
    recorded_parameter,
)
from headstability.workflow.graph import Plan, PlannedJob
from headstability.workflow.run_file import plan_of

NEW = "it does not exist yet"
METADATA = Path(".snakemake", "metadata")


def reasons_for(row: dict[str, str], job: PlannedJob, plan: Plan, records: dict) -> list[str]:
    """Why the job that makes one output would run for its own sake; [] if only others make it.

    `row` is what Snakemake says of the output, `records` what it recorded of finished jobs, by log.
    """
    if row["status"] == "missing":
        return [NEW]
    record = records.get(row["log-file(s)"])
    if record is None:
        return ["nothing is recorded of how it was made"] if row["status"] != "ok" else []
    recorded = recorded_parameter(record) or {}
    reasons = parameter_reasons(job.wildcards, recorded, plan.parameter(job))
    if row["status"] == "updated input files":
        reasons += input_reasons(record)
    # Changed parameters without a change of its own: the change lies with a job it reads from.
    if not reasons and row["status"] not in ("ok", "params changed"):
        reasons.append(row["status"])
    return reasons


def main() -> None:
    """Print reasons grouped, each with the files it makes stale, then what follows from them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="files or short names; default: everything")
    parser.add_argument("--configfile", help="the study; default: config.yaml")
    arguments = parser.parse_args()
    try:
        plan, printed = plan_of(arguments.configfile, *arguments.targets, "--summary", "--nolock")
    except UserError as error:
        sys.exit(f"Error: {error}")
    rows = list(csv.DictReader(printed.splitlines(), delimiter="\t"))
    jobs = {path: job for job in (*plan.jobs, *plan.others) for path in job.outputs}
    rows = [row for row in rows if row["plan"] == "update pending" and row["output_file"] in jobs]
    records = recorded_jobs(METADATA)
    groups: dict[str, list[str]] = {}
    follows: Counter[str] = Counter()
    for row in rows:
        reasons = reasons_for(row, jobs[row["output_file"]], plan, records)
        if not reasons:
            follows[row["rule"]] += 1
        for reason in reasons:
            groups.setdefault(reason, []).append(row["output_file"])
    if not rows:
        print("Nothing would be rebuilt: all targets are up to date.")
    for reason, files in sorted(groups.items(), key=lambda item: (item[0] == NEW, len(item[1]))):
        print(f"\n{reason}:")
        print(*(f"  {path}" for path in files[:5]), sep="\n")
        if len(files) > 5:
            print(f"  ... and {len(files) - 5} more")
    if follows:
        listed = ", ".join(f"{rule} {count}" for rule, count in follows.items())
        print(f"\nRebuilt because of the above (files by rule): {listed}.")


main()
