"""What each kind of job depends on: the config reaches jobs only through these specifications.

So a job depends on exactly the keys it uses.
"""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .labels import ALL
from .study import Study

# A user's file up to this size counts by its whole content, a larger one by size and both ends.
WHOLE_CONTENT, CONTENT_END = 2**28, 2**20


def corpus(study: Study) -> dict[str, Any]:
    """For the job that reads the corpus; with the content of the user's files."""
    spec = study.config.corpus.model_dump()
    spec["content"] = [_content(path) for path in study.corpus_files()]
    return spec


def tokenizer(study: Study) -> dict[str, Any]:
    """For the job that makes or reads the tokenizer."""
    spec = study.config.tokenizer.model_dump()
    if spec["type"] == "file":
        spec["content"] = _content(spec["path"])
    return spec


def tokens(study: Study) -> dict[str, Any]:
    """For the job that tokenises the corpus."""
    return {"bos": getattr(study.config.tokenizer, "bos", None)}


def prompts(study: Study, prompts: str) -> dict[str, Any]:
    """For the job that makes one prompt set."""
    spec = study.config.prompts[prompts].model_dump()
    if spec["type"] == "file":
        spec["content"] = _content(spec["path"])
    if spec["type"] in ("file", "url"):
        spec["context"] = study.config.training.context
    return {**spec, **tokens(study), "name": prompts}


def train(study: Study, architecture: str, weight_decay: str, refit: str) -> dict[str, Any]:
    """For the job that trains one cell."""
    chosen = next(item for item in study.refits if item.name == refit)
    training = study.config.training.model_dump(exclude={"tokens", "checkpoint_steps"})
    return {
        "shape": _shape(study, architecture),
        "weight_decay": float(weight_decay),
        "init_seed": chosen.init_seed,
        "data_seed": chosen.data_seed,
        "training": {**training, "steps": study.steps},
        "checkpoint_steps": study.checkpoint_steps,
    }


def download_weights(
    study: Study, architecture: str, weight_decay: str, refit: str
) -> dict[str, Any]:
    """For the job that fetches the weights of one cell."""
    cell = {"architecture": architecture, "weight_decay": weight_decay, "refit": refit}
    source = study.config.architectures[architecture].source
    places = {step: asdict(place) for step, place in study.places(cell).items()}
    return {"places": places, "sha256": source.sha256}


def import_weights(
    study: Study, architecture: str, weight_decay: str, refit: str
) -> dict[str, Any]:
    """For the job that makes checkpoints of weights trained elsewhere."""
    cell = {"architecture": architecture, "weight_decay": weight_decay, "refit": refit}
    chosen = next(item for item in study.refits if item.name == refit)
    training = study.config.training
    shape = _shape(study, architecture)
    return {
        **download_weights(study, **cell),
        "content": [_content(path, whole=2 * CONTENT_END) for path in study.source_files(cell)],
        "activation": getattr(study.config.architectures[architecture].source, "activation", ""),
        "shape": {key: shape[key] for key in ("layers", "heads", "d_model", "mlp")},
        "weight_decay": float(weight_decay),
        "init_seed": chosen.init_seed,
        "data_seed": chosen.data_seed,
        "checkpoint_steps": study.checkpoint_steps,
        "training": {
            "context": training.context,
            "held_out_rows": training.held_out_rows,
            "device": training.device,
        },
    }


def cache(study: Study) -> dict[str, Any]:
    """For the job that caches activations."""
    return {"device": study.config.training.device, "streams": _streams(study)}


def ablation(study: Study, text: str) -> dict[str, Any]:
    """For the job that ablates the heads of one refit."""
    methods = study.config.ablation.methods
    device = study.config.training.device
    spec: dict[str, Any] = {"device": device, "text": text, "methods": methods}
    if text == "held_out":
        spec["held_out_rows"] = study.config.ablation.held_out_rows
        spec["context"] = study.config.training.context
    return spec


def refits(study: Study) -> dict[str, Any]:
    """For jobs over the refits of a condition."""
    return {"refits": study.refit_names()}


def anchor(study: Study) -> dict[str, Any]:
    """For jobs that show one anchor."""
    return {"anchor": study.anchor}


def grid(study: Study) -> dict[str, Any]:
    """For jobs over all conditions, in the order of the config."""
    return {"conditions": study.conditions(), "refits": study.refit_names()}


def published(study: Study) -> dict[str, Any]:
    """For the comparison with the paper: conditions are compared by their shape."""
    shapes = {
        name: {
            "layers": shape.layers,
            "heads": shape.heads,
            "attn_only": not shape.mlp,
            "d_model": shape.d_model,
        }
        for name, shape in study.config.architectures.items()
    }
    return {"shapes": shapes, "anchor": study.anchor}


def look(study: Study) -> dict[str, Any]:
    """For figure jobs: the look."""
    return study.config.figures.model_dump(exclude={"include"})


def figure(study: Study) -> dict[str, Any]:
    """For figures over conditions: the look, and the weight decays that colours stand for."""
    return {**look(study), "weight_decays": study.weight_decays}


def anchored(study: Study) -> dict[str, Any]:
    """For figures over anchors: which of them is shown bold, "all" for their mean."""
    every = study.config.stability.anchor == "all"
    return {**figure(study), "anchor": ALL if every else study.anchor}


def commonness(study: Study) -> dict[str, Any]:
    """For the figure of commonness: whether heads are compared with themselves, too."""
    return {**anchored(study), "with_self": study.config.stability.commonness_self}


def shapes(study: Study) -> dict[str, Any]:
    """For jobs over all conditions that show the shapes of their models."""
    return {"architectures": {k: v.model_dump() for k, v in study.config.architectures.items()}}


def residual_similarity(study: Study) -> dict[str, Any]:
    """For the job that compares the residual streams of a condition's refits."""
    return {**refits(study), "streams": _streams(study)}


def residual(study: Study) -> dict[str, Any]:
    """For the figure of residual streams: the look, and which CKA it shows."""
    chosen = study.config.residual.model_dump(include={"kernel", "estimator"})
    return {**figure(study), **chosen}


def meta_sne(study: Study) -> dict[str, Any]:
    """For the job that maps the heads of all architectures."""
    chosen = study.config.meta_sne.model_dump()
    return {"architectures": study.architectures, **refits(study), **chosen}


def _streams(study: Study) -> list[str]:
    """Residual streams that are kept, in any order the same."""
    return sorted(study.config.residual.streams)


def stability_ablation(study: Study) -> dict[str, Any]:
    """For the figure of stability and ablation effects."""
    return {**figure(study), "correlation": study.config.ablation.correlation}


def evaluate(study: Study) -> dict[str, Any]:
    """For the job that takes the perplexity of one refit on whole texts."""
    texts = study.config.perplexity.texts
    return {
        **tokens(study),
        "device": study.config.training.device,
        "context": study.config.training.context,
        "texts": texts,
        "content": {name: _content(path) for name, path in texts.items()},
    }


def prefixes(study: Study) -> dict[str, Any]:
    """For the job that measures stability on the first tokens of prompts."""
    return {**refits(study), **study.config.prompt_lengths.model_dump()}


def head_atlas(study: Study) -> dict[str, Any]:
    """For the job that puts patterns of an anchor's heads beside their best matches."""
    spec = study.config.atlas.model_dump()
    return {**spec, **tokens(study), **anchor(study), "refits": study.atlas_refits()}


def seeds(study: Study) -> dict[str, Any]:
    """For jobs that tell refits by their seeds: {refit: [init seed, data seed]}."""
    return {"seeds": {refit.name: [refit.init_seed, refit.data_seed] for refit in study.refits}}


def seeded_grid(study: Study) -> dict[str, Any]:
    """For such jobs over all conditions."""
    return {**grid(study), **seeds(study)}


def dose(study: Study) -> dict[str, Any]:
    """For the table of doses: what a weight decay is multiplied with, too."""
    rate = study.config.training.learning_rate
    return {**seeded_grid(study), "learning_rate": rate, "steps": study.steps}


def time_course(study: Study) -> dict[str, Any]:
    """For the table of measures over training: which steps, and how many tokens they stand for."""
    training = study.config.training
    return {
        **seeded_grid(study),
        "time_steps": study.time_steps,
        "tokens_per_step": training.batch * training.context,
    }


def refits_needed(study: Study) -> dict[str, Any]:
    """For the table of interval widths."""
    return {**grid(study), **study.config.refits_needed.model_dump()}


def role_scores(study: Study) -> dict[str, Any]:
    """For the job that scores what the heads of one refit do."""
    return {
        "device": study.config.training.device,
        **study.config.roles.model_dump(exclude={"least"}),
    }


def role_stability(study: Study) -> dict[str, Any]:
    """For the job that sorts the heads of a condition into roles."""
    return {**refits(study), **seeds(study), "least": study.config.roles.least}


def adjust(study: Study) -> dict[str, Any]:
    """For the job that takes known biases off the stability of a condition."""
    return {**refits(study), "measures": sorted(study.config.nulls.measures)}


def adjusted_table(study: Study) -> dict[str, Any]:
    """For the job that puts intervals on adjusted measures, beside the untrained reference."""
    return {
        **grid(study),
        "init_seeds": {refit.name: refit.init_seed for refit in study.refits},
        "heads": {name: one.heads for name, one in study.config.architectures.items()},
        "crossed": study.crossed,
        "untrained": study.untrained,
    }


def claims_table(study: Study) -> dict[str, Any]:
    """For the job that tests the claims."""
    methods = study.config.ablation.methods
    return {
        **grid(study),
        **shapes(study),
        "claims": study.config.claims.model_dump(),
        "crossed": study.crossed,
        "method": "zero" if "zero" in methods else methods[0],
        "name": study.name,
        "prompts": study.measured["prompts"],
        "text": study.measured["text"],
    }


def _shape(study: Study, architecture: str) -> dict[str, Any]:
    return {
        **study.config.architectures[architecture].model_dump(exclude={"source"}),
        "context": study.config.training.context,
    }


def _content(path: str, whole: int = WHOLE_CONTENT) -> str | None:
    """What tells one content of a user's file from another, whatever its times say.

    Of files too large to read at every start, the size, the beginning and the end.

    Args:
        path: the file.
        whole: size up to which it is read wholly, at least twice CONTENT_END.
    """
    if not Path(path).is_file():
        return None
    size = Path(path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        if size <= whole:
            digest.update(handle.read())
        else:
            digest.update(handle.read(CONTENT_END))
            handle.seek(-CONTENT_END, os.SEEK_END)
            digest.update(handle.read())
    return digest.hexdigest()[:16]
