"""Tables of every measure of a condition, from its stored similarities (docs/statistics.md)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..measures.adjusted import assignments, matched_best
from ..measures.recurrence import same_index, shared_and_specific
from ..measures.registry import Measure, chosen_measures
from ..measures.similarity import NotDefined, commonness, pairwise_stability, pooled
from ..measures.uncertainty import over_pairs
from .measures import defined, versions

RAW = "raw"
# Columns that stand before the layer.
_REFITS = ("refit_a", "refit_b", "anchor", "refit")
# What `shared.csv` calls the value with everything, and those with a refit or a group left out.
WHOLE, REFIT, GROUP = "", "refit", "group"


def adjusted_tables(
    refits: Sequence[str], similarity: xr.Dataset, measured: xr.Dataset, names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Every measure of a condition, by layer.

    Args:
        refits: names of the refits.
        similarity: what `similarities.condition_similarity` returned.
        measured: what `measures.condition_measures` returned.
        names: the measures that the config chooses; the raw one, its null and those that are
            always measured are always included.

    Returns:
        `pairs`: k_l of every pair of refits, once, by measure (refit_a, refit_b, layer, measure,
        stability); measures are raw, shuffled (the null), excess, cut (raw, cut like the null;
        where prompts differ in length), those of `measures.MEASURES`, and of what heads write also
        that of the layer's concatenated z, <measure>_of_layer, and its null;
        `without_prompts`: the mean over pairs without each group of prompts, where prompts can be
        left out, and that of distinctness (layer, measure, group, stability);
        `matches`: m of every head in every other refit (anchor, refit, layer, head, raw, text,
        shuffled);
        `heads`: of every head of every refit, over the other refits (refit, layer, head, raw, text,
        shuffled, excess), its commonness with the layer's other heads by raw and text similarity
        (commonness, commonness_text), and bos_mass;
        `shared`: what refits share and what is specific to heads, by measure with a similarity of
        its own: `recurrence.STATISTICS` with everything, without each refit and without each group
        of prompts (layer, measure, statistic, left_out (empty, refit or group), unit, value);
        `identity`: share of assigned heads with the same index (refit_a, refit_b, layer, measure,
        same_index).
        Undefined values are empty.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    measures = {RAW: Measure(), **chosen_measures(names)}
    for layer in range(measured.sizes["layer"]):
        one = _Layer(similarity.isel(layer=layer), measured.isel(layer=layer), measures)
        for name, part in one.tables(np.array(refits)).items():
            part.insert(sum(column in _REFITS for column in part), "layer", layer + 1)
            tables.setdefault(name, []).append(part)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


class _Layer:
    """The measures of one layer.

    Attributes:
        pairs: k_l by measure, [refit, refit].
        without: its mean over pairs without each group, by measure, [group].
        match: m by measure, [anchor, refit, head].
        common: commonness with other heads by measure, [refit, head].
    """

    def __init__(
        self, similarity: xr.Dataset, measured: xr.Dataset, measures: dict[str, Measure]
    ) -> None:
        self._raw, self._measured, self._measures = similarity["within"], measured, measures
        self._counts = similarity["prompts_in_group"].values
        self._refits, self._heads = self._raw.shape[1:3]
        self.pairs: dict[str, np.ndarray] = {}
        self.without: dict[str, np.ndarray] = {}
        for name, measure in measures.items():
            self._measure(name, measure)
        self._null()
        self.match = {name: self._best(name) for name in (RAW, "text")}
        self.match["shuffled"] = measured["null_match"].values.astype(np.float64)
        self.common = {name: self._commonness(name) for name in (RAW, "text")}

    def versions(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cosines and counts of a measure, with all prompts and without each group."""
        raw = name == RAW or self._measures[name].raw_similarity
        return versions(self._raw if raw else self._measured[name], self._counts)

    def _measure(self, name: str, measure: Measure) -> None:
        def stability(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
            return pairwise_stability(measure.match(cosines, counts))

        empty = np.full((self._refits, self._refits), np.nan)
        whole, *left = [_guarded(stability, *one, empty) for one in self.versions(name)]
        self.pairs[name] = whole
        if left:
            self.without[name] = np.array([_mean_of_pairs(pairs) for pairs in left])
        if measure.outputs:
            of_layer = f"{name}_of_layer"
            for kind in (of_layer, f"{of_layer}_shuffled"):
                if kind in self._measured:
                    self.pairs[kind] = self._measured[kind].values.astype(np.float64)
        if name == RAW:
            distinct = [_guarded(_distinctness, *one, np.nan) for one in self.versions(name)]
            self.without["distinctness"] = np.array(distinct[1:])

    def _null(self) -> None:
        """The prompt-shuffled null and the excess over it, both on the same patterns."""
        base = RAW
        for kind, name in {"null": "shuffled", "cut": "cut"}.items():
            if f"{kind}_stability" in self._measured:
                stored = self._measured[f"{kind}_stability"].values.astype(np.float64)
                self.pairs[name] = stored[0]
                self.without[name] = np.array([_mean_of_pairs(pairs) for pairs in stored[1:]])
                base = name if name == "cut" else base
        for values in (self.pairs, self.without):
            values["excess"] = values[base] - values["shuffled"]

    def _best(self, name: str) -> np.ndarray:
        empty = np.full((self._refits, self._refits, self._heads), np.nan)
        return _guarded(matched_best, *next(self.versions(name)), empty)

    def _commonness(self, name: str) -> np.ndarray:
        own = np.arange(self._refits)
        return commonness(pooled(*next(self.versions(name)))[own, :, own, :])[1]

    def tables(self, names: np.ndarray) -> dict[str, pd.DataFrame]:
        """Tables of the layer; the caller adds its number."""
        one, other = np.triu_indices(len(names), 1)
        ends = {"refit_a": names[one], "refit_b": names[other]}
        pairs = [
            pd.DataFrame({**ends, "measure": name, "stability": values[one, other]})
            for name, values in self.pairs.items()
        ]
        without = [
            pd.DataFrame({"measure": name, "group": np.arange(1, len(v) + 1), "stability": v})
            for name, v in self.without.items()
        ]
        others = ~np.eye(len(names), dtype=bool)
        anchor, refit = np.nonzero(others)
        heads = np.arange(1, self._heads + 1)
        matches = {
            "anchor": names[anchor].repeat(len(heads)),
            "refit": names[refit].repeat(len(heads)),
            "head": np.tile(heads, len(anchor)),
            **{name: m[anchor, refit].ravel() for name, m in self.match.items()},
        }
        of_heads = {"refit": names.repeat(len(heads)), "head": np.tile(heads, len(names))}
        for name, match in self.match.items():
            of_heads[name] = match.mean(axis=1, where=others[..., None]).ravel()
        excess = self._excess_of_heads(others)
        of_heads |= {"excess": excess, "commonness": self.common[RAW].ravel()}
        of_heads["commonness_text"] = self.common["text"].ravel()
        of_heads["bos_mass"] = self._measured["bos_mass"].values.astype(np.float64).ravel()
        shared, identity = self._shared(names)
        return {
            "pairs": pd.concat(pairs),
            "without_prompts": pd.concat(without),
            "matches": pd.DataFrame(matches),
            "heads": pd.DataFrame(of_heads),
            "shared": shared,
            "identity": identity,
        }

    def _excess_of_heads(self, others: np.ndarray) -> np.ndarray:
        """Best match less its null, on the same patterns, [refit x head]."""
        cut = self._measured.get("cut_match")
        match = self.match[RAW] if cut is None else cut.values.astype(np.float64)
        excess = match - self.match["shuffled"]
        return excess.mean(axis=1, where=others[..., None]).ravel()

    def _shared(self, names: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What refits share and what is specific to heads, and how often indices agree."""
        one, other = np.triu_indices(len(names), 1)
        rows, identity = [], []
        for name, measure in self._measures.items():
            if name != RAW and measure.raw_similarity:
                continue
            for group, version in enumerate(self.versions(name)):
                similarity = defined(version)
                if similarity is None:
                    continue
                chosen = assignments(similarity)
                found = shared_and_specific(similarity, chosen, dealt=group == 0)
                labels = [(GROUP, str(group))] if group else [(WHOLE, "")]
                labels += [] if group else [(REFIT, refit) for refit in names]
                for statistic, values in found.items():
                    numbers = [values.value] if group else [values.value, *values.refits]
                    rows += [
                        (name, statistic, *label, float(number))
                        for label, number in zip(labels, numbers, strict=True)
                    ]
                if not group:
                    same = same_index(chosen)
                    ends = {"refit_a": names[one], "refit_b": names[other], "measure": name}
                    identity.append(pd.DataFrame({**ends, "same_index": same[one, other]}))
        rows += self._shuffled_mu(names)
        columns = ["measure", "statistic", "left_out", "unit", "value"]
        kept = ["refit_a", "refit_b", "measure", "same_index"]
        agreement = pd.concat(identity) if identity else pd.DataFrame(columns=kept)
        return pd.DataFrame(rows, columns=columns), agreement

    def _shuffled_mu(self, names: np.ndarray) -> list[tuple]:
        """Rows of mu of raw similarity with prompts shuffled; none with one prompt."""
        stored = self._measured["null_similarity"].values.astype(np.float64)
        if np.isnan(stored[0]).any():
            return []
        both = (stored + stored.swapaxes(1, 2)) / 2
        mu = over_pairs(both[0], both[1:])
        units = [(WHOLE, ""), *((REFIT, name) for name in names)]
        units += [(GROUP, str(group)) for group in range(1, len(both))]
        return [
            (RAW, "mu_shuffled", *unit, float(number))
            for unit, number in zip(units, [mu.value, *mu.refits, *mu.prompts], strict=True)
        ]


def _guarded(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray | float],
    cosines: np.ndarray,
    counts: np.ndarray,
    otherwise: np.ndarray | float,
) -> np.ndarray | float:
    """A statistic, or what takes its place where no prompt is left, or none in one half."""
    try:
        return statistic(cosines, counts)
    except NotDefined:
        return otherwise


def _mean_of_pairs(pairs: np.ndarray) -> float:
    """S_l over all anchors: the mean over pairs of refits."""
    return float(pairs[~np.eye(len(pairs), dtype=bool)].mean())


def _distinctness(cosines: np.ndarray, counts: np.ndarray) -> float:
    """Mean distinctness of a layer's heads, over all refits."""
    own = np.arange(cosines.shape[1])
    common, _ = commonness(pooled(cosines, counts)[own, :, own, :])
    return float(1 - common.mean())
