"""Stability of a condition on the first tokens of prompts."""

from headstability.analysis.prompt_length import stability_by_length
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write layer stability by prompt length."""
    refits, lengths = job.spec["refit_names"], job.section("prompt_lengths")
    table = stability_by_length(refits, job.input.caches, lengths["prompts"], lengths["tokens"])
    write_csv(job.output.lengths, table)


run(snakemake, main)
