"""Stability of a condition, all anchors."""

from headstability.conditions import stability_tables
from headstability.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write stability of heads, of pairs of refits, and the matches it rests on."""
    tables = stability_tables(job.spec["refits"], job.input.caches)
    for name, table in tables.items():
        write_csv(job.output[name], table)


run(snakemake, main)
