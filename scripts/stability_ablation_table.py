"""Table of the correlation of stability with ablation effects, by layer."""

from headstability.files import read_csv, write_csv
from headstability.tables.ablation import stability_ablation_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/stability_ablation.csv."""
    write_csv(job.output.table, stability_ablation_table(read_csv(job.input.heads)))


run(snakemake, main)
