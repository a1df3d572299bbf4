"""Table of best matches that may lie in any layer."""

from headstability.files import read_csv, write_csv
from headstability.tables.layers import cross_layer_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/cross_layer.csv."""
    cross_layer = read_conditions(job.spec["conditions"], job.input.cross_layer)
    layer_stability = read_csv(job.input.layer_stability)
    write_csv(job.output.table, cross_layer_table(cross_layer, layer_stability))


run(snakemake, main)
