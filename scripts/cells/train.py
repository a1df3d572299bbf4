"""Train one cell."""

from pathlib import Path

from headstability.models.shape import Shape
from headstability.storage.files import write_csv, write_json
from headstability.storage.locks import exclusive_lock, resume_folder
from headstability.storage.machine import node_copy, use_threads
from headstability.text.token_files import open_tokens
from headstability.training.loop import Trainer, publish
from headstability.training.settings import Cell, Recipe
from job import Job, StopSignals, run


def main(job: Job) -> None:
    """Train, or go on training, and write weights, training table and provenance."""
    use_threads(job.threads)
    train = open_tokens(job.input.manifest, job.input.train, "train", node_copy)
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    recipe = Recipe(**job.section("training"), steps=job.spec["steps"])
    cell = Cell(
        name=job.label("architecture", "weight_decay", "refit"),
        shape=Shape(**job.spec["shape"], context=recipe.context, vocabulary=train.vocabulary),
        recipe=recipe,
        weight_decay=float(job.wildcards.weight_decay),
        **job.spec["cell_seeds"],
        checkpoint_steps=job.spec["checkpoint_steps"],
    )
    folder = resume_folder(job.output.provenance)
    lock = exclusive_lock(folder / "lock", cell.name)
    trainer = Trainer(cell, train, held_out, folder, job.fingerprint)
    if trainer.resume():
        print(f"{cell.name}: resumed at step {trainer.step} of {cell.recipe.steps}")
    trainer.run(job.resources.save_seconds, StopSignals())
    trained = trainer.result()
    for step, path in zip(cell.checkpoint_steps, job.output.weights, strict=True):
        publish(trained.weights[step], Path(path))
    write_csv(job.output.training, trained.table)
    write_json(job.output.provenance, trained.provenance)
    lock.release()


run(snakemake, main)
