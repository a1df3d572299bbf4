"""Tokenise the corpus into flat files."""

import os
from pathlib import Path

from headstability.storage.locks import exclusive_lock, resume_folder
from headstability.storage.progress import Progress
from headstability.text.encoding import write_tokens
from headstability.text.tokenizers import load_own_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write both splits' tokens and their manifest."""
    # Read by the tokenizer when it first starts its threads.
    os.environ["RAYON_NUM_THREADS"] = str(job.threads)
    tokenizer = load_own_tokenizer(job.input.tokenizer, job.spec["bos"])
    paths = {**dict(job.input.items()), **dict(job.output.items())}
    folder = resume_folder(job.output.manifest) / "tokens"
    lock = exclusive_lock(folder / "lock", "tokenising the corpus")
    size = Path(job.input.documents).stat().st_size
    update = Progress("tokenising (bytes)", size).update
    write_tokens(tokenizer, job.spec["bos"], paths, folder, job.resources.save_seconds, update)
    lock.release()


run(snakemake, main)
