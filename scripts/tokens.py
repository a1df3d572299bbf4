"""Tokenise the corpus into flat files."""

from headstability.corpus import documents_from_jsonl
from headstability.tokenization import load_tokenizer, write_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write both splits' tokens and their manifest."""
    tokenizer = load_tokenizer(job.input.tokenizer, job.spec["bos"])
    splits = {
        split: (item.text for item in documents_from_jsonl(job.input.documents, split))
        for split in ("train", "held_out")
    }
    files = {**dict(job.input.items()), **dict(job.output.items())}
    write_tokens(tokenizer, job.spec["bos"], splits, files)


run(snakemake, main)
