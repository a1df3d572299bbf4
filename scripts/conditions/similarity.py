"""Mean cosines of all heads of a condition, from the caches of its refits."""

from headstability.analysis.similarities import condition_similarity
from headstability.storage.stores import write_cache
from job import Job, run


def main(job: Job) -> None:
    """Write the similarities that stability and whatever rests on it are made of."""
    found = condition_similarity(job.spec["refit_names"], job.input.caches)
    write_cache(job.output.similarity, *found)


run(snakemake, main)
