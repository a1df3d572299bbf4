"""Table of the pairs of refits of one condition."""

from headstability.files import read_csv, write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside a pairwise matrix."""
    write_csv(job.output.table, read_csv(job.input.pairs))


run(snakemake, main)
