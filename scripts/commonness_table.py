"""Table of commonness and distinctness."""

from headstability.files import write_csv
from headstability.tables.layers import commonness_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/commonness.csv."""
    heads = read_conditions(job.spec["conditions"], job.input.heads)
    write_csv(job.output.table, commonness_table(heads))


run(snakemake, main)
