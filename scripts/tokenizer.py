"""Train a tokenizer on the training split, or take the saved one."""

from headstability.corpus import documents_from_jsonl
from headstability.tokenization import load_tokenizer, save_tokenizer, train_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write tokenizer.json."""
    if job.spec["type"] == "file":
        tokenizer = load_tokenizer(job.spec["path"], job.spec["bos"])
    else:
        texts = (item.text for item in documents_from_jsonl(job.input.documents, "train"))
        tokenizer = train_tokenizer(texts, job.spec["vocabulary"])
    save_tokenizer(tokenizer, job.output.tokenizer)


run(snakemake, main)
