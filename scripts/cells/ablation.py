"""Ablate every head of one cell."""

from headstability.analysis.ablation import ablate_heads, ablation_table
from headstability.models.checkpoints import load_model
from headstability.models.transformer import choose_device
from headstability.storage.files import read_json, write_csv
from headstability.storage.machine import use_threads
from headstability.storage.progress import Progress
from headstability.text.token_files import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write what removing each head costs, on a prompt set or on held-out rows."""
    use_threads(job.threads)
    model, _ = load_model(job.input.weights)
    if held_out := job.spec["ablated_rows"]:
        tokens = open_tokens(*job.input.text, "held_out")
        prompts, bos = tokens.spread_rows(*held_out).tolist(), tokens.bos
    else:
        content = read_json(job.input.text[0])
        prompts, bos = content["tokens"], content["bos"]
    label = f"ablation of {job.label('architecture', 'weight_decay', 'refit')}"
    progress = Progress(label, len(prompts))
    model = model.to(choose_device(job.spec["training.device"]))
    result = ablate_heads(model, prompts, bos, job.spec["ablation.methods"], progress.update)
    write_csv(job.output.ablation, ablation_table(result))


run(snakemake, main)
