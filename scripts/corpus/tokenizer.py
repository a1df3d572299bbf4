"""Train a tokenizer on the training split, or take a saved one."""

from headstability.hub.download import Hub
from headstability.storage.files import check_sidecar
from headstability.text.corpus import documents_from_jsonl
from headstability.text.tokenizers import load_tokenizer, save_tokenizer, train_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write tokenizer.json."""
    spec = job.spec["tokenizer"]
    if spec["type"] == "file":
        tokenizer = load_tokenizer(spec["path"], spec["bos"])
    elif spec["type"] == "hub":
        fetched = Hub(spec["repo"], spec["revision"]).fetch(spec["path"])
        tokenizer = load_tokenizer(fetched, spec["bos"])
    else:
        check_sidecar(job.input.documents)
        texts = (item.text for item in documents_from_jsonl(job.input.documents, "train"))
        tokenizer = train_tokenizer(texts, spec["vocabulary"])
    save_tokenizer(tokenizer, job.output.tokenizer)


run(snakemake, main)
