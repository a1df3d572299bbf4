"""Read the corpus and split it by document."""

from headstability.hub.download import data_files
from headstability.storage.locks import exclusive_lock, resume_folder
from headstability.storage.progress import Progress
from headstability.storage.resumable import ResumableFiles
from headstability.text.corpus import read_documents, write_documents
from headstability.text.datasets import write_data_set
from job import Job, run


def main(job: Job) -> None:
    """Write the documents of the corpus, each with its split."""
    corpus = job.spec["corpus"]
    if corpus["type"] != "data":
        write_documents(job.output.documents, read_documents(corpus))
        return
    folder = resume_folder(job.output.documents) / "documents"
    lock = exclusive_lock(folder / "lock", "reading the corpus")
    sources, commit = data_files(corpus)
    files = ResumableFiles(folder, ["documents"], f"{commit} {job.fingerprint}")
    update = Progress("reading files of the corpus", len(sources)).update
    write_data_set(corpus, sources, job.output.documents, files, update)
    files.forget()
    lock.release()


run(snakemake, main)
