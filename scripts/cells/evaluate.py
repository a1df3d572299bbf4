"""Perplexity of one cell on whole texts."""

from headstability.analysis.perplexity import text_losses
from headstability.models.checkpoints import load_model
from headstability.models.transformer import choose_device
from headstability.storage.files import write_csv
from headstability.storage.machine import use_threads
from headstability.text.encoding import token_texts
from headstability.text.token_files import open_tokens
from headstability.text.tokenizers import load_own_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write the perplexity on the held-out documents and on the user's texts."""
    use_threads(job.threads)
    model, _ = load_model(job.input.weights)
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    tokenizer = load_own_tokenizer(job.input.tokenizer, job.spec["bos"])
    texts = token_texts(job.spec["perplexity.texts"], tokenizer, held_out)
    model = model.to(choose_device(job.spec["training.device"]))
    losses = text_losses(model, texts, held_out.bos, job.spec["training.context"])
    write_csv(job.output.perplexity, losses)


run(snakemake, main)
