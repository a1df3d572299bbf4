"""Table of the similarity of residual streams."""

from headstability.files import read_csv, write_csv
from headstability.tables.reading import read_conditions
from headstability.tables.streams import residual_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside the figure."""
    pairs = read_conditions(job.spec["conditions"], job.input.pairs)
    layers = read_csv(job.input.layers)
    write_csv(job.output.table, residual_table(pairs, layers))


run(snakemake, main)
