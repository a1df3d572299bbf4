"""Adjusted measures and claims of the smoke study, against naive float64 loops over its caches."""

import numpy as np
import oracles_adjusted as oracles
import oracles_recurrence
import pandas as pd
import pytest
from test_end_to_end import CONDITIONS, REFITS, SHAPES, STEP, cell

from headstability.storage.stores import open_cache

TEXT = {"dtype": {"weight_decay": str}}


def triangles(smoke, architecture, decay, layer, step=STEP):
    """[refit][head][prompt], float64, and the caches."""
    caches = [
        open_cache(cell(smoke, architecture, decay, refit) / f"caches/step{step}/passages.zarr.zip")
        for refit in REFITS
    ]
    lengths = caches[0]["prompt_length"].values
    cuts = np.cumsum(lengths * (lengths + 1) // 2)[:-1]
    patterns = [cache["pattern"].sel(layer=layer).values.astype(np.float64) for cache in caches]
    return [[np.split(head, cuts) for head in refit] for refit in patterns], caches


def k(match):
    return oracles.pairwise(match)[0, 1]


def groups_of(cache):
    """Group of each prompt: documents are numbered as they appear."""
    documents = cache["prompt_document"].values.tolist()
    order = list(dict.fromkeys(documents))
    return np.array([order.index(document) for document in documents])


def shifted(found, groups, left=-1):
    """The null: six prompts have shifts 1 to 5; a group is left out in both roles."""
    values = []
    for shift in range(1, 6):
        partner = (np.arange(6) + shift) % 6
        kept = np.flatnonzero((groups != left) & (groups[partner] != left))
        values.append(k(oracles.best(oracles.shuffled(found, shift, kept))))
    return np.mean(values)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_adjusted_measures_agree_with_naive_loops(smoke, architecture, decay):
    folder = smoke / f"results/smoke/conditions/{architecture}/wd{decay}/step{STEP}/adjusted"
    pairs = pd.read_csv(folder / "passages/pairs.csv").set_index(["layer", "measure"])["stability"]
    left_out = pd.read_csv(folder / "passages/without_prompts.csv")
    left_out = left_out.set_index(["layer", "measure", "group"])["stability"]
    heads = pd.read_csv(folder / "passages/heads.csv").set_index(["refit", "layer", "head"])
    for layer in range(1, SHAPES[architecture][0] + 1):
        found, caches = triangles(smoke, architecture, decay, layer)
        every, groups = range(6), groups_of(caches[0])
        raw = oracles.best(oracles.similarities(found, every))
        free = [[[oracles.without_sink(t) for t in head] for head in refit] for refit in found]
        centred = oracles.centred(found)
        expected = {
            "raw": k(raw),
            "shuffled": shifted(found, groups),
            "split": k(oracles.split_halves(found, every, groups)),
            "template": k(oracles.best(oracles_recurrence.template(found, every))),
            "text": k(oracles.best(oracles_recurrence.text(found, every))),
            "one_to_one": k(oracles.one_to_one(oracles.similarities(found, every))),
            "centred": k(oracles.best(oracles.similarities(centred, every))),
            "sink_free": k(oracles.best(oracles.similarities(free, every))),
        }
        expected["excess"] = expected["raw"] - expected["shuffled"]
        for name, value in expected.items():
            assert pairs[layer, name] == pytest.approx(value, abs=2e-6), name
        kept = np.flatnonzero(groups != 1)  # without the second group
        fewer = oracles.similarities(found, kept)
        for name, value in {
            "raw": k(oracles.best(fewer)),
            "shuffled": shifted(found, groups, 1),
            "template": k(oracles.best(oracles_recurrence.template(found, kept))),
            "text": k(oracles.best(oracles_recurrence.text(found, kept))),
            "one_to_one": k(oracles.one_to_one(fewer)),
            "distinctness": 1 - np.mean([fewer[r, :, r, :] for r in range(2)]),
        }.items():
            assert left_out[layer, name, 2] == pytest.approx(value, abs=2e-6), name
        for refit, head in np.ndindex(2, len(found[0])):
            row = heads.loc[(REFITS[refit], layer, head + 1)]
            assert row["bos_mass"] == pytest.approx(oracles.bos_mass(found[refit][head]), abs=1e-6)
            assert row["raw"] == pytest.approx(raw[refit, 1 - refit, head], abs=2e-6)
        z = [cache["z"].sel(layer=layer).values.astype(np.float64) for cache in caches]
        written = np.array([[oracles.debiased_cka(a, b) for b in z[1]] for a in z[0]])
        both = (written.max(axis=1).mean() + written.max(axis=0).mean()) / 2
        assert pairs[layer, "z_cka"] == pytest.approx(both, abs=1e-5)
        whole = [heads.transpose(1, 0, 2).reshape(heads.shape[1], -1) for heads in z]
        assert pairs[layer, "z_cka_of_layer"] == pytest.approx(
            oracles.debiased_cka(*whole), abs=1e-5
        )


def test_the_untrained_reference_is_the_stability_of_step_0(smoke):
    table = pd.read_csv(smoke / "results/smoke/tables/adjusted.csv", **TEXT)
    rows = table[table["measure"] == "untrained"]
    for row in rows.itertuples():
        found, _ = triangles(smoke, row.architecture, "0", row.layer, step=0)
        expected = k(oracles.best(oracles.similarities(found, range(6))))
        assert row.value == pytest.approx(expected, abs=2e-6)
    assert len(rows) == 6, "three layers, the same for both weight decays"


def test_tables_say_why_two_refits_have_no_intervals_and_no_verdicts(smoke):
    table = pd.read_csv(smoke / "results/smoke/tables/adjusted.csv", **TEXT)
    assert table[["se_refit", "low", "high"]].isna().all(axis=None)
    estimated = table[table["measure"] != "normalised_excess"]
    assert set(estimated["reason"]) == {"2 refits: an interval needs at least 3"}
    claims = pd.read_csv(smoke / "results/smoke/tables/claims.csv", **TEXT)
    assert set(claims["verdict"].dropna()) == {"inconclusive"}
    page = (smoke / "results/smoke/claims.md").read_text()
    assert page.count("\n## ") == 7
    said = page.split("## 0.")[1]
    assert "**larger than delta**" not in said
    assert "**reversed**" not in said


def test_claims_rest_on_the_measured_tables(smoke):
    """Claim 5 and the cost of claim 4, from the files of the condition."""
    claims = pd.read_csv(smoke / "results/smoke/tables/claims.csv", **TEXT)
    claims = claims[claims["scope"] == "condition"].set_index(
        ["architecture", "weight_decay", "part", "measure"]
    )["estimate"]
    folder = smoke / "results/smoke/conditions/two"
    streams = pd.read_csv(folder / f"wd0.1/step{STEP}/residual/passages.csv")
    streams = streams[streams["kernel"] == "linear"].groupby("estimator")["cka"].mean()
    pairs = pd.read_csv(folder / f"wd0.1/step{STEP}/adjusted/passages/pairs.csv")
    written = pairs.groupby("measure")["stability"].mean()
    gap = streams["debiased"] - streams["shuffled"]
    gap -= written["z_cka_of_layer"] - written["z_cka_of_layer_shuffled"]
    found = claims["two", "0.1", "CKA(resid_mid) - CKA(z), each less its null", "cka"]
    assert found == pytest.approx(gap, abs=1e-9)
    losses = {}
    for decay in ("0", "0.1"):
        texts = [
            pd.read_csv(folder / f"wd{decay}/step{STEP}/perplexity/{refit}.csv").set_index("text")
            for refit in REFITS
        ]
        losses[decay] = np.log([table.loc["held_out", "perplexity"] for table in texts])
    cost = np.log(1.01) - (losses["0.1"] - losses["0"]).mean()
    found = claims["two", "0.1", "log 1.01 - log perplexity ratio", "raw"]
    assert found == pytest.approx(cost, abs=1e-9)
    text = pairs[pairs["measure"] == "text"].groupby("layer")["stability"].mean()
    plain = pd.read_csv(folder / f"wd0/step{STEP}/adjusted/passages/pairs.csv")
    base = plain[plain["measure"] == "text"].groupby("layer")["stability"].mean()
    found = claims["two", "0.1", "S(wd) - S(0)", "text"]
    assert found == pytest.approx((text - base).mean(), abs=1e-9)


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_what_is_shared_follows_from_the_stored_similarities(smoke, architecture, decay):
    """Every statistic of every measure, from the archive alone."""
    folder = smoke / f"results/smoke/conditions/{architecture}/wd{decay}/step{STEP}"
    stored = open_cache(folder / "adjusted/passages/measures.zarr.zip")
    raw = open_cache(folder / "stability/passages/similarity.zarr.zip")
    weights = raw["prompts_in_group"].values / raw["prompts_in_group"].values.sum()
    shared = pd.read_csv(folder / "adjusted/passages/shared.csv", keep_default_na=False)
    whole = shared[shared["left_out"] == ""].set_index(["layer", "measure", "statistic"])["value"]
    for measure in shared["measure"].unique():
        values = raw["within"] if measure == "raw" else stored[measure]
        for layer in range(1, SHAPES[architecture][0] + 1):
            s = values.sel(layer=layer).values.astype(np.float64)
            if values.dims[1] == "group":
                s = np.tensordot(weights, s, axes=1)
            elif values.dims[1] == "left_out":
                s = s[0]
            expected, _, _ = oracles_recurrence.specific(s, range(2))
            expected["S0"] = oracles_recurrence.redealt(s, range(2))
            for statistic, value in expected.items():
                found = whole[layer, measure, statistic]
                if statistic == "T":
                    assert found == "", "two refits have no third"
                else:
                    assert float(found) == pytest.approx(value, abs=1e-9), (measure, statistic)


@pytest.mark.parametrize("decay", ["0", "0.1"])
def test_twins_are_measured_by_seed(smoke, decay):
    folder = smoke / "results/smoke/conditions/two/twins"
    table = pd.read_csv(folder / f"step{STEP}/passages.csv", **TEXT)
    rows = table[(table["weight_decay"] == decay) & (table["measure"] == "text")]
    rows = rows[rows["group"] == 0].set_index(["layer", "refit"])["similarity"]
    for layer in (1, 2):
        pairs = [triangles(smoke, "two", d, layer)[0] for d in ("0", "0.1")]
        for number, refit in enumerate(REFITS):
            s = oracles_recurrence.text([pairs[0][number], pairs[1][number]], range(6))
            pi = oracles_recurrence.assign(s)[0, 1]
            expected = np.mean([s[0, h, 1, g] for h, g in enumerate(pi)])
            assert rows[layer, refit] == pytest.approx(expected, abs=1e-6)
