"""Table of the pairs of refits of one condition."""

from headstability.files import write_csv
from headstability.tables import read_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside a pairwise matrix."""
    write_csv(job.output.table, read_table(job.input.pairs))


run(snakemake, main)
