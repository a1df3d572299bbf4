"""Check that the refits of a condition are independent training runs."""

from headstability.analysis.identity import identity_table
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write the table of refits, or fail naming the cells that are not what they claim."""
    write_csv(job.output.refits, identity_table(job.spec["refit_names"], job.input.provenance))


run(snakemake, main)
