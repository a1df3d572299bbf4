"""Read the corpus and split it by document."""

from headstability.corpus import read_documents, write_documents
from headstability.datasets import write_data_set
from headstability.growing import GrowingFiles
from headstability.liveness import ExclusiveLock, resume_folder
from headstability.progress import Progress
from headstability.sources.data_files import data_files
from job import Job, run


def main(job: Job) -> None:
    """Write the documents of the corpus, each with its split."""
    if job.spec["type"] != "data":
        write_documents(job.output.documents, read_documents(job.spec))
        return
    folder = resume_folder(job.output.documents) / "documents"
    lock = ExclusiveLock(folder / "lock", "reading the corpus")
    sources, commit = data_files(job.spec)
    files = GrowingFiles(folder, ["documents"], f"{commit} {job.fingerprint}")
    update = Progress("reading files of the corpus", len(sources)).update
    write_data_set(job.spec, sources, job.output.documents, files, update)
    files.forget()
    lock.release()


run(snakemake, main)
