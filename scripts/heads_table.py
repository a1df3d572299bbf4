"""Table of every head of every refit: stability and ablation effects."""

from headstability.files import write_csv
from headstability.tables.ablation import heads_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/heads.csv."""
    conditions = job.spec["conditions"]
    cells = [{**item, "refit": name} for item in conditions for name in job.spec["refits"]]
    ablations = read_conditions(cells, job.input.ablations)
    write_csv(
        job.output.table, heads_table(read_conditions(conditions, job.input.stability), ablations)
    )


run(snakemake, main)
