"""Table of how many refits are needed."""

from headstability.files import write_csv
from headstability.tables.questions import refits_needed_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/refits_needed.csv."""
    spec = job.spec
    pairs = read_conditions(spec["conditions"], job.input.pairs)
    chosen = spec["width"], spec["draws"], spec["seed"]
    write_csv(job.output.table, refits_needed_table(pairs, spec["refits"], *chosen))


run(snakemake, main)
