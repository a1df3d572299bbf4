"""Table of the map of heads of one weight decay."""

from headstability.files import write_csv
from headstability.tables.meta_sne import meta_sne_table
from job import Job, run


def main(job: Job) -> None:
    """Write where every head stands."""
    spec = job.spec
    table = meta_sne_table(
        spec["architectures"], spec["refits"], job.input.caches, spec["perplexity"], spec["seed"]
    )
    write_csv(job.output.table, table)


run(snakemake, main)
