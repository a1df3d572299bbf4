"""Twins of an architecture: the same seeds trained with several weight decays."""

from headstability.analysis.twins import twin_similarities, twin_table
from headstability.storage.files import write_csv
from headstability.storage.stores import write_cache
from job import Job, run


def main(job: Job) -> None:
    """Write similarities of twins, and how alike they are."""
    refits, decays = job.spec["refit_names"], job.spec["decay_labels"]
    # One refit after another, weight decays within.
    caches = [
        list(of_refit) for of_refit in zip(*_split(job.input.caches, len(decays)), strict=True)
    ]
    similarities, made_from = twin_similarities(refits, decays, caches)
    write_cache(job.output.similarities, similarities, made_from)
    write_csv(job.output.table, twin_table(similarities.assign_attrs(made_from), decays))


def _split(paths: list[str], parts: int) -> list[list[str]]:
    size = len(paths) // parts
    return [list(paths[start : start + size]) for start in range(0, len(paths), size)]


run(snakemake, main)
