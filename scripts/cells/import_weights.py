"""Turn weights that were trained elsewhere into the checkpoints of one cell."""

import torch

from headstability.exchange import importing
from headstability.exchange.origins import origins_of
from headstability.models.transformer import choose_device
from headstability.storage.files import write_json
from headstability.text.token_files import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write checkpoints and provenance."""
    torch.set_num_threads(job.threads)
    spec = job.spec
    held_out = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    header = {
        "cell": job.label("architecture", "weight_decay", "refit"),
        "weight_decay": float(job.wildcards.weight_decay),
        **spec["cell_seeds"],
    }
    chosen = {
        "places": spec["places"],
        "activation": spec["source_activation"],
        **job.section(f"architectures.{job.wildcards.architecture}.source"),
    }
    origins, source = origins_of(chosen, job.input.get("download") or None)
    imported = []
    for step, path in zip(spec["checkpoint_steps"], job.output.weights, strict=True):
        origin = origins[str(step)]
        of_step = {**header, "step": step}
        one = importing.import_weights(origin, chosen["sha256"], spec["shape"], of_step, path)
        importing.check_text(one["shape"], held_out, spec["training.context"], origin.label)
        imported.append(one)
    rows = held_out.spread_rows(spec["training.held_out_rows"], spec["training.context"])
    device = choose_device(spec["training.device"])
    loss = importing.held_out_loss(job.output.weights[-1], rows, held_out.bos, device)
    made = (spec["checkpoint_steps"], imported, source, (loss, len(rows)))
    write_json(job.output.provenance, importing.provenance_of(header, *made))


run(snakemake, main)
