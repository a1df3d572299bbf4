"""Table of every head of every refit: stability and ablation effects."""

from headstability.files import write_csv
from headstability.tables.ablation import dead_heads_table, heads_table
from headstability.tables.reading import read_cells, read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/heads.csv, and which layers have dead heads."""
    conditions = job.spec["conditions"]
    ablations = read_cells(conditions, job.spec["refits"], job.input.ablations)
    heads = heads_table(read_conditions(conditions, job.input.stability), ablations)
    write_csv(job.output.table, heads)
    write_csv(job.output.dead, dead_heads_table(heads.drop(columns="dead")))


run(snakemake, main)
