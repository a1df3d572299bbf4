"""Export one cell as a folder for the library transformers."""

from headstability.exchange.exporting import write_huggingface
from headstability.models.checkpoints import read_model
from headstability.storage.files import read_json
from job import Job, run


def main(job: Job) -> None:
    """Write config, weights and the file that tells transformers what the model is."""
    model, _ = read_model(job.input.weights)
    write_huggingface(model, read_json(job.input.manifest)["bos"], dict(job.output.items()))


run(snakemake, main)
