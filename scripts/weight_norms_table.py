"""Table of the correlation of stability with weight norms."""

from headstability.files import read_csv, write_csv
from headstability.tables.reading import read_conditions
from headstability.tables.streams import weight_norms_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside the figure."""
    norms = read_conditions(job.spec["conditions"], job.input.norms)
    layers = read_csv(job.input.layers)
    write_csv(job.output.table, weight_norms_table(norms, layers))


run(snakemake, main)
