"""Similarity of the residual streams of a condition's refits."""

from headstability.analysis.streams import residual_pairs
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write CKA of every pair of refits."""
    refits, streams = job.spec["refit_names"], job.spec["streams"]
    write_csv(job.output.pairs, residual_pairs(refits, job.input.caches, streams, job.threads))


run(snakemake, main)
