"""Perplexity of one cell on whole texts."""

import torch

from headstability.files import write_csv
from headstability.loading import load_model
from headstability.memory import keep_freed_memory
from headstability.model import choose_device
from headstability.perplexity import text_losses
from headstability.texts import token_texts
from headstability.tokenization import load_own_tokenizer
from headstability.tokens import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write the perplexity on the held-out documents and on the user's texts."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    model, _ = load_model(job.input.weights)
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    tokenizer = load_own_tokenizer(job.input.tokenizer, job.spec["bos"])
    texts = token_texts(job.spec["texts"], tokenizer, held_out)
    model = model.to(choose_device(job.spec["device"]))
    write_csv(job.output.perplexity, text_losses(model, texts, held_out.bos, job.spec["context"]))


run(snakemake, main)
