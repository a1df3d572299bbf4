"""Table of layer stability."""

from headstability.files import write_csv
from headstability.tables.reading import read_conditions
from headstability.tables.stability import layer_stability_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/layer_stability.csv."""
    stability = read_conditions(job.spec["conditions"], job.input.stability)
    refits = read_conditions(job.spec["conditions"], job.input.refits)
    write_csv(job.output.table, layer_stability_table(stability, refits))


run(snakemake, main)
