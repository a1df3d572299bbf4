"""Check every file of the study against its recorded hash; changes nothing."""

from headstability.errors import UserError
from headstability.progress import Progress
from headstability.verify import verify_study
from job import Job, run


def main(job: Job) -> None:
    """Print what is missing, damaged, orphaned or left behind; fail if the study is not sound."""
    expected = job.spec["expected"]
    progress = Progress(f"verifying {job.spec['root']}", len(expected))
    spec = job.spec
    findings = verify_study(
        spec["root"], expected, spec["on_request"], progress.update, spec["record"]
    )
    print(findings.report())
    if not findings.sound:
        raise UserError(f"{job.spec['root']} is not complete and unaltered: see the list above")


run(snakemake, main)
