"""Adjusted stability of a condition."""

from headstability.adjusted_conditions import adjusted_tables
from headstability.conditions import open_similarity
from headstability.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write every measure by pair and by head, and what is left without groups of prompts."""
    refits = job.spec["refits"]
    condition = job.label("architecture", "weight_decay")
    similarity = open_similarity(job.input.similarity, condition, refits)
    tables = adjusted_tables(
        refits,
        job.input.caches,
        similarity["within"],
        similarity["prompts_in_group"].values,
        job.spec["measures"],
    )
    for name, table in tables.items():
        write_csv(job.output[name], table)


run(snakemake, main)
