"""Read the corpus and split it by document."""

from headstability.corpus import documents_to_jsonl, read_documents
from headstability.files import write_bytes
from job import Job, run


def main(job: Job) -> None:
    """Write the documents of the corpus, each with its split."""
    write_bytes(job.output.documents, documents_to_jsonl(read_documents(job.spec)))


run(snakemake, main)
