"""Cache one cell's activations on one prompt set."""

from pathlib import Path

import torch

from headstability.activations import activations
from headstability.caches import write_cache
from headstability.files import read_json, sha256_file
from headstability.liveness import forget_finished
from headstability.loading import load_model
from headstability.memory import keep_freed_memory
from headstability.model import choose_device
from headstability.weight_norms import weight_matrices, weight_norm
from job import Job, run


def main(job: Job) -> None:
    """Write patterns, z, residual streams and norms of activations and weights."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    model, header = load_model(job.input.weights)
    prompts = read_json(job.input.prompts)
    provenance = {
        "cell": header["cell"],
        "step": header["step"],
        "weights_sha256": header["sha256"],
        "prompts": prompts["name"],
        "prompts_sha256": sha256_file(job.input.prompts),
    }
    device = choose_device(job.spec["device"])
    kept = activations(model, prompts["tokens"], device, streams=job.spec["streams"])
    kept["weight_norm"] = weight_norm(weight_matrices(model))
    write_cache(job.output.cache, kept, provenance)
    # Snakemake starts this job once it has recorded the training.
    forget_finished([Path(job.input.weights).parents[1] / "provenance.json"])


run(snakemake, main)
