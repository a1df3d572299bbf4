"""Check that the refits of a condition are independent training runs."""

from headstability.files import write_csv
from headstability.identity import identity_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table of refits, or fail naming the cells that are not what they claim."""
    write_csv(job.output.refits, identity_table(job.spec["refits"], job.input.provenance))


run(snakemake, main)
