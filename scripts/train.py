"""Train one cell."""

from pathlib import Path

import torch

from headstability.files import write_csv, write_json
from headstability.liveness import ExclusiveLock, resume_folder
from headstability.memory import keep_freed_memory
from headstability.node import node_copy
from headstability.recipe import Cell, Recipe
from headstability.shape import Shape
from headstability.tokens import open_tokens
from headstability.training import Trainer, publish
from job import Job, StopSignals, run


def main(job: Job) -> None:
    """Train, or go on training, and write weights, training table and provenance."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    train = open_tokens(job.input.manifest, job.input.train, "train", node_copy)
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    spec = job.spec
    cell = Cell(
        name=job.label("architecture", "weight_decay", "refit"),
        shape=Shape(**spec["shape"], vocabulary=train.vocabulary),
        recipe=Recipe(**spec["training"]),
        weight_decay=spec["weight_decay"],
        init_seed=spec["init_seed"],
        data_seed=spec["data_seed"],
        checkpoint_steps=spec["checkpoint_steps"],
    )
    folder = resume_folder(job.output.provenance)
    lock = ExclusiveLock(folder / "lock", cell.name)
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
