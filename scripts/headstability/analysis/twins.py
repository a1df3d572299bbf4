"""Twins: the same seed trained with several weight decays (docs/statistics.md, "Twins")."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..measures.adjusted import assignments
from ..measures.recurrence import same_index
from ..measures.registry import MEASURES, cosine
from .adjusted import RAW
from .measures import LayerReader, compared, defined, provenance, stacked, versions
from .refit_caches import open_refits


def twin_similarities(
    refits: Sequence[str], decays: Sequence[str], paths: Sequence[Sequence[str | Path]]
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Similarities of heads of the same seed trained with different weight decays.

    Args:
        refits: names of the refits.
        decays: the weight decays.
        paths: the cache of each weight decay, for every refit.

    Returns:
        A dataset, float32, with the raw measure and those that are always measured: dimensions as
        in `measures.condition_measures`, but within one refit and between weight decays; and what
        it was made from.

    Raises:
        UserError, DamagedFile: caches are damaged or do not belong together.
    """
    chosen = {name: one for name, one in MEASURES.items() if one.always}
    by_refit, opened = [], []
    for refit, of_decays in zip(refits, paths, strict=True):
        caches = open_refits([refit] * len(decays), of_decays, ["pattern", "z"])
        opened += caches
        layers = []
        for layer in range(caches[0].sizes["layer"]):
            reader = LayerReader(caches, layer)
            raw = cosine(reader, reader.groups).reshape(-1, *reader.shape)
            dims = ("group", "refit", "head", "other_refit", "other_head")
            layers.append({RAW: (dims, raw), **compared(reader, chosen)})
        dataset = stacked(layers, caches[0], decays)
        by_refit.append(dataset[[RAW, *chosen]].rename(_NAMES))
    joined = xr.concat(by_refit, dim="refit").transpose("layer", "refit", ...)
    made_from = provenance(refits, opened)
    made_from["condition"] = made_from["condition"].split("/")[0]
    return joined, made_from | {"weight_decays": list(decays)}


_NAMES = {"refit": "weight_decay", "other_refit": "other_weight_decay"}


def twin_table(similarities: xr.Dataset, decays: Sequence[str]) -> pd.DataFrame:
    """How alike twins are, head by head.

    Args:
        similarities: what `twin_similarities` returned.
        decays: the weight decays.

    Returns:
        weight_decay, other_weight_decay (each pair in both orders), refit, layer, measure, group
        (0: all prompts; k: without group k), similarity (mean over heads of that with the assigned
        head, the twins' ceiling) and same_index (share of assigned heads with the same index).
    """
    counts = similarities["prompts_in_group"].values
    rows = []
    for measure in similarities.data_vars:
        values = similarities[measure]
        for layer, of_layer in enumerate(values, start=1):
            for refit, one in zip(similarities.attrs["refits"], of_layer, strict=True):
                for group, version in enumerate(versions(one, counts)):
                    labels = {"refit": refit, "layer": layer, "measure": measure, "group": group}
                    rows += [labels | found for found in _pairs(version, decays)]
    return pd.DataFrame(rows)


def _pairs(version: tuple[np.ndarray, np.ndarray], decays: Sequence[str]) -> list[dict[str, Any]]:
    similarity = defined(version)
    if similarity is None:
        return []
    chosen = assignments(similarity)
    agreement, found = same_index(chosen), []
    for one, decay in enumerate(decays):
        for other, other_decay in enumerate(decays):
            if one != other:
                block, partner = similarity[one, :, other], chosen[one, other]
                alike = float(block[np.arange(len(block)), partner].mean())
                labels = {"weight_decay": decay, "other_weight_decay": other_decay}
                agree = float(agreement[one, other])
                found.append({**labels, "similarity": alike, "same_index": agree})
    return found
