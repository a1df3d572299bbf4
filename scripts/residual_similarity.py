"""Similarity of the residual streams of a condition's refits."""

from headstability.files import write_csv
from headstability.residual import residual_pairs
from job import Job, run


def main(job: Job) -> None:
    """Write CKA of every pair of refits."""
    refits, streams = job.spec["refits"], job.spec["streams"]
    pairs = residual_pairs(refits, job.input.caches, streams, job.threads)
    write_csv(job.output.pairs, pairs)


run(snakemake, main)
