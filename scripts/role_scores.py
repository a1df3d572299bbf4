"""What the heads of a condition attend to, and how stable heads of each role are."""

import torch

from headstability.condition_roles import condition_scores
from headstability.files import read_csv, write_csv
from headstability.model import choose_device
from headstability.progress import Progress
from headstability.tables.roles import role_heads, role_stability
from job import Job, run


def main(job: Job) -> None:
    """Write scores and role of every head, and the stability of roles."""
    torch.set_num_threads(job.threads)
    spec, refits = job.spec, list(job.spec["seeds"])
    label = f"roles of {job.label('architecture', 'weight_decay')}"
    scores, even = condition_scores(
        dict(zip(refits, job.input.caches, strict=True)),
        job.input.weights,
        job.input.prompts,
        spec,
        choose_device(spec["device"]),
        Progress(label, len(refits)).update,
    )
    matches = read_csv(job.input.matches)
    heads = role_heads(scores, even, matches, refits, spec["least"])
    write_csv(job.output.heads, heads)
    write_csv(job.output.stability, role_stability(heads, matches, spec["seeds"]))


run(snakemake, main)
