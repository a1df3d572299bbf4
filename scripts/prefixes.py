"""Stability of a condition on the first tokens of prompts."""

from headstability.files import write_csv
from headstability.prompt_length import stability_by_length
from job import Job, run


def main(job: Job) -> None:
    """Write layer stability by prompt length."""
    spec = job.spec
    table = stability_by_length(spec["refits"], job.input.caches, spec["prompts"], spec["tokens"])
    write_csv(job.output.lengths, table)


run(snakemake, main)
