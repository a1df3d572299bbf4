"""Table of the norms of activations."""

from headstability.files import write_csv
from headstability.tables.reading import read_conditions
from headstability.tables.streams import attention_norms_table
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside the figure."""
    norms = read_conditions(job.spec["conditions"], job.input.norms)
    write_csv(job.output.table, attention_norms_table(norms))


run(snakemake, main)
