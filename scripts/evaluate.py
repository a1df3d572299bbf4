"""Perplexity of the refits of a condition on whole texts."""

import pandas as pd
import torch

from headstability.files import write_csv
from headstability.loading import load_model
from headstability.memory import keep_freed_memory
from headstability.model import choose_device
from headstability.perplexity import text_losses
from headstability.progress import Progress
from headstability.texts import token_texts
from headstability.tokenization import load_tokenizer
from headstability.tokens import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write the perplexity of every refit on the held-out documents and the user's texts."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    tokenizer = load_tokenizer(job.input.tokenizer, job.spec["bos"])
    texts = token_texts(job.spec["texts"], tokenizer, held_out)
    device = choose_device(job.spec["device"])
    progress = Progress(
        f"perplexity of {job.label('architecture', 'weight_decay')}", len(job.spec["refits"])
    )
    tables = []
    for refit, weights in zip(job.spec["refits"], job.input.weights, strict=True):
        model, _ = load_model(weights)
        table = text_losses(model.to(device), texts, held_out.bos, job.spec["context"])
        table.insert(0, "refit", refit)
        tables.append(table)
        progress.update(len(tables))
    write_csv(job.output.perplexity, pd.concat(tables))


run(snakemake, main)
