"""Table of where instability comes from."""

from headstability.files import write_csv
from headstability.tables.questions import origin_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/origin.csv."""
    pairs = read_conditions(job.spec["conditions"], job.input.pairs)
    write_csv(job.output.table, origin_table(pairs, job.spec["seeds"]))


run(snakemake, main)
