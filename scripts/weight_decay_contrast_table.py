"""Table of the contrast of weight decays."""

from headstability.files import read_csv, write_csv
from headstability.tables.layers import weight_decay_contrast_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/weight_decay_contrast.csv."""
    layer_stability = read_csv(job.input.layer_stability)
    write_csv(job.output.table, weight_decay_contrast_table(layer_stability))


run(snakemake, main)
