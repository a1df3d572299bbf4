"""What the heads of one cell attend to."""

import torch

from headstability.analysis.cell_roles import cell_scores
from headstability.models.transformer import choose_device
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write scores of every head, on the prompts of its cache and on synthetic ones."""
    torch.set_num_threads(job.threads)
    device = choose_device(job.spec["training.device"])
    files = (job.input.cache, job.input.weights, job.input.prompts)
    scores = cell_scores(job.wildcards.refit, *files, job.section("roles"), device)
    write_csv(job.output.scores, scores)


run(snakemake, main)
