"""Every measure of a condition, from its stored similarities."""

from headstability.analysis.adjusted import adjusted_tables
from headstability.analysis.similarities import open_similarity
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write every measure by pair and by head, and what refits share."""
    refits = job.spec["refit_names"]
    condition = job.label("architecture", "weight_decay")
    similarity = open_similarity(job.input.similarity, condition, refits, ["within"])
    measured = open_similarity(job.input.measures, condition, refits)
    tables = adjusted_tables(refits, similarity, measured, job.spec["null_measures"])
    for name, table in tables.items():
        write_csv(job.output[name], table)


run(snakemake, main)
