"""Norms of activations and weights of a condition's refits."""

from headstability.analysis.streams import stream_norms, weight_norms
from headstability.storage.files import write_csv
from job import Job, run


def main(job: Job) -> None:
    """Write norms by layer: of attention's output and the stream, and of weight matrices."""
    refits = job.spec["refit_names"]
    write_csv(job.output.streams, stream_norms(refits, job.input.caches))
    write_csv(job.output.weights, weight_norms(refits, job.input.caches))


run(snakemake, main)
