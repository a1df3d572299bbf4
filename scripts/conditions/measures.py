"""Similarities of a condition's heads by every measure, from the caches of its refits."""

from headstability.analysis.measures import condition_measures
from headstability.storage.stores import write_cache
from job import Job, run


def main(job: Job) -> None:
    """Write what all measures but the raw one rest on."""
    names = job.spec["null_measures"]
    found = condition_measures(job.spec["refit_names"], job.input.caches, names)
    write_cache(job.output.measures, *found)


run(snakemake, main)
