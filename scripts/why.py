"""Say why targets would be made again: the config key, the module or the file behind it.

python scripts/why.py [TARGET ...] [--configfile FILE], or make why TARGET=... CONFIG=...
"""

import argparse
import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

from headstability.codehash import code_hashes
from headstability.config_file import read_config
from headstability.errors import UserError
from headstability.jobs import KINDS, job_parameter, wildcards_of
from headstability.study import Study
from headstability.why import (
    input_reasons,
    parameter_reasons,
    recorded_jobs,
    recorded_parameter,
)

NEW = "it does not exist yet"
METADATA = Path(".snakemake", "metadata")


def summary(targets: list[str], config: str | None) -> list[dict[str, str]]:
    """Snakemake's own judgement of every output: rule, log, status and plan."""
    command = [sys.executable, "-m", "snakemake", *targets, "--summary", "--nolock"]
    command += ["--configfile", config] if config else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        _, found, message = done.stderr.rpartition("Error: ")
        raise UserError(found + message.strip())
    return list(csv.DictReader(done.stdout.splitlines(), delimiter="\t"))


def reasons_for(row: dict[str, str], study: Study, records: dict) -> list[str]:
    """Why the job that makes one output would run for its own sake; [] if only others make it."""
    if row["status"] == "missing":
        return [NEW]
    record = records.get(row["log-file(s)"])
    if record is None:
        return ["nothing is recorded of how it was made"] if row["status"] != "ok" else []
    wildcards = wildcards_of(study, row["rule"], row["output_file"]) or {}
    code = code_hashes(Path("scripts", f"{row['rule']}.py"))
    current = job_parameter(study, row["rule"], wildcards, code)
    recorded = recorded_parameter(record) or {}
    reasons = parameter_reasons(row["rule"], wildcards, recorded, current)
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
    config = Path(arguments.configfile or "config.yaml")
    try:
        rows = summary(arguments.targets, arguments.configfile)
        study = Study(read_config(config))
    except UserError as error:
        sys.exit(str(error))
    pending = [row for row in rows if row["plan"] == "update pending" and row["rule"] in KINDS]
    records = recorded_jobs(METADATA)
    groups: dict[str, list[str]] = {}
    follows: Counter[str] = Counter()
    for row in pending:
        reasons = reasons_for(row, study, records)
        if not reasons:
            follows[row["rule"]] += 1
        for reason in reasons:
            groups.setdefault(reason, []).append(row["output_file"])
    if not pending:
        print("Nothing would be made again: everything asked for is up to date.")
    for reason, files in sorted(groups.items(), key=lambda item: (item[0] == NEW, len(item[1]))):
        print(f"\n{reason}:")
        for path in files[:5]:
            print(f"  {path}")
        if len(files) > 5:
            print(f"  ... and {len(files) - 5} more")
    if follows:
        listed = ", ".join(f"{rule} {count}" for rule, count in follows.items())
        print(f"\nMade again because of the above (files by rule): {listed}.")


main()
