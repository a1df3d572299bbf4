"""Check every file of the study against its recorded hash; changes nothing."""

from pathlib import Path

from headstability.errors import UserError
from headstability.monitor.verify import verify_study
from headstability.storage.progress import Progress
from headstability.workflow.run_file import handed_over
from job import Job, run


def main(job: Job) -> None:
    """Print what is missing, damaged, orphaned or left behind; fail if the study is not sound."""
    _, plan = handed_over()
    root, record = job.spec["root"], job.spec["config_record"]
    asked_for = sum(Path(path).exists() for path in plan.on_request)
    progress = Progress(f"verifying {root}", len(plan.expected) + asked_for)
    findings = verify_study(root, plan.expected, plan.on_request, progress.update, record)
    print(findings.report())
    if not findings.sound:
        raise UserError(f"{root} is not complete and unaltered: see the list above")


run(snakemake, main)
