"""Roles of the heads of a condition, and how stable heads of each role are."""

from headstability.storage.files import read_csv, write_csv
from headstability.tables.reading import read_refits
from headstability.tables.roles import role_heads, role_stability
from job import Job, run


def main(job: Job) -> None:
    """Write scores, role and stability of every head, and the stability of roles."""
    spec = job.spec
    scores = read_refits(spec["refit_names"], job.input.scores)
    matches = read_csv(job.input.matches)
    heads = role_heads(scores, matches, spec["roles.least"])
    write_csv(job.output.heads, heads)
    write_csv(job.output.stability, role_stability(heads, matches, spec["seeds"]))


run(snakemake, main)
