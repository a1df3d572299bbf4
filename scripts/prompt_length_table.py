"""Table of stability by prompt length."""

from headstability.files import write_csv
from headstability.tables.prompt_length import prompt_length_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/prompt_length.csv."""
    lengths = read_conditions(job.spec["conditions"], job.input.lengths)
    write_csv(job.output.table, prompt_length_table(lengths))


run(snakemake, main)
