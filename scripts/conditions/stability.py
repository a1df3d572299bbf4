"""Stability of a condition, all anchors."""

from headstability.analysis.similarities import open_similarity
from headstability.storage.files import write_csv
from headstability.tables.measures import condition_tables
from job import Job, run


def main(job: Job) -> None:
    """Write stability of heads and of pairs, the matches it rests on, and commonness."""
    refits = job.spec["refit_names"]
    condition = job.label("architecture", "weight_decay")
    similarity = open_similarity(job.input.similarity, condition, refits)
    for name, table in condition_tables(similarity, refits).items():
        write_csv(job.output[name], table)


run(snakemake, main)
