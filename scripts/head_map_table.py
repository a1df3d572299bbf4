"""Table of the anchor's heads of one condition."""

from headstability.files import read_csv, write_csv
from headstability.tables.stability import head_map_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside a head map."""
    write_csv(job.output.table, head_map_table(read_csv(job.input.stability), job.spec["anchor"]))


run(snakemake, main)
