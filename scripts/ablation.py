"""Ablate every head of one cell."""

import torch

from headstability.ablation import ablate_heads, ablation_table
from headstability.files import read_json, write_csv
from headstability.loading import load_model
from headstability.memory import keep_freed_memory
from headstability.model import choose_device
from headstability.progress import Progress
from headstability.tokens import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write what removing each head costs, on a prompt set or on held-out rows."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    model, _ = load_model(job.input.weights)
    if job.spec["text"] == "held_out":
        manifest, path = job.input.text
        tokens = open_tokens(manifest, path, "held_out")
        rows = tokens.spread_rows(job.spec["held_out_rows"], job.spec["context"])
        prompts, bos = rows.tolist(), tokens.bos
    else:
        content = read_json(job.input.text[0])
        prompts, bos = content["tokens"], content["bos"]
    label = f"ablation of {job.label('architecture', 'weight_decay', 'refit')}"
    progress = Progress(label, len(prompts))
    model = model.to(choose_device(job.spec["device"]))
    result = ablate_heads(model, prompts, bos, job.spec["methods"], progress.update)
    write_csv(job.output.ablation, ablation_table(result))


run(snakemake, main)
