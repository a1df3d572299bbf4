"""Table of perplexities."""

from headstability.files import write_csv
from headstability.tables.perplexity import perplexity_table
from headstability.tables.reading import read_cells
from job import Job, run


def main(job: Job) -> None:
    """Write tables/perplexity.csv."""
    spec = job.spec
    texts = read_cells(spec["conditions"], spec["refits"], job.input.perplexities)
    write_csv(job.output.table, perplexity_table(texts))


run(snakemake, main)
