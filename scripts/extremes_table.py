"""Table of the most and the least stable layers."""

from headstability.files import read_csv, write_csv
from headstability.tables.layers import extremes_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/extremes.csv."""
    layer_stability = read_csv(job.input.layer_stability)
    write_csv(job.output.table, extremes_table(layer_stability, job.spec["architectures"]))


run(snakemake, main)
