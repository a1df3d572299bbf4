"""Mean cosines of all heads of a condition, from the caches of its refits."""

from headstability.caches import write_cache
from headstability.conditions import condition_similarity
from job import Job, run


def main(job: Job) -> None:
    """Write the similarities that stability and whatever rests on it are made of."""
    write_cache(job.output.similarity, *condition_similarity(job.spec["refits"], job.input.caches))


run(snakemake, main)
