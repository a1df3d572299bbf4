"""Cache one cell's activations on one prompt set."""

from pathlib import Path

from headstability.analysis.activations import activations
from headstability.analysis.weight_norms import weight_matrices, weight_norm
from headstability.models.checkpoints import load_model
from headstability.models.transformer import choose_device
from headstability.storage.files import read_json, sha256_file
from headstability.storage.locks import forget_finished
from headstability.storage.machine import use_threads
from headstability.storage.stores import write_cache
from job import Job, run


def main(job: Job) -> None:
    """Write patterns, z, residual streams and norms of activations and weights."""
    use_threads(job.threads)
    model, header = load_model(job.input.weights)
    prompts = read_json(job.input.prompts)
    provenance = {
        "cell": header["cell"],
        "step": header["step"],
        "weights_sha256": header["sha256"],
        "prompts": prompts["name"],
        "prompts_sha256": sha256_file(job.input.prompts),
    }
    device = choose_device(job.spec["training.device"])
    chosen = {"streams": job.spec["streams"], "documents": prompts["documents"]}
    kept = activations(model, prompts["tokens"], device, **chosen)
    kept["weight_norm"] = weight_norm(weight_matrices(model))
    write_cache(job.output.cache, kept, provenance)
    # Snakemake starts this job once it has recorded the training.
    forget_finished([Path(job.input.weights).parents[1] / "provenance.json"])


run(snakemake, main)
