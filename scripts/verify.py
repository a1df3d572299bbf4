"""Check every file of the study against its recorded hash; changes nothing."""

from pathlib import Path

from headstability.errors import UserError
from headstability.progress import Progress
from headstability.verify import verify_study
from job import Job, run


def main(job: Job) -> None:
    """Print what is missing, damaged, orphaned or left behind; fail if the study is not sound."""
    spec = job.spec
    asked_for = sum(Path(path).exists() for path in spec["on_request"])
    progress = Progress(f"verifying {spec['root']}", len(spec["expected"]) + asked_for)
    findings = verify_study(
        spec["root"], spec["expected"], spec["on_request"], progress.update, spec["record"]
    )
    print(findings.report())
    if not findings.sound:
        raise UserError(f"{spec['root']} is not complete and unaltered: see the list above")


run(snakemake, main)
