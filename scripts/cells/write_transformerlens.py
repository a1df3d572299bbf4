"""Export one cell for TransformerLens."""

from headstability.exchange.exporting import write_transformerlens
from headstability.models.checkpoints import read_model
from job import Job, run


def main(job: Job) -> None:
    """Write its state dict and the values of its config."""
    model, _ = read_model(job.input.weights)
    write_transformerlens(model, job.output.state, job.output.config)


run(snakemake, main)
