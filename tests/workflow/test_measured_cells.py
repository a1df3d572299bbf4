"""Perplexity, prompt length and head atlas of the smoke study, against naive float64 loops."""

import json

import numpy as np
import oracles
import pandas as pd
import pytest
from driver import SMOKE, jobs, snakemake, write_study
from safetensors.numpy import load_file
from test_end_to_end import CONDITIONS, REFITS, SHAPES, STEP, cell
from tokenizers import Tokenizer

from headstability.storage.files import read_csv
from headstability.storage.stores import open_cache, pattern_of

CONTEXT = 32
INCLUDED = ["layer_stability", "stability_ablation", "perplexity", "prompt_length", "head_atlas"]
WORDS = "Fellow citizens of the Senate and of the House of Representatives, we meet again."


def condition(smoke, architecture, decay, study="smoke"):
    return smoke / f"results/{study}/conditions/{architecture}/wd{decay}/step{STEP}"


@pytest.fixture(scope="module")
def extended(smoke):
    """The smoke study under another name, with a text of the user's and other choices."""
    (smoke / "speech.txt").write_text(f"{WORDS}\n\n{WORDS}", encoding="utf-8")
    study = write_study(
        smoke,
        "extended",
        perplexity={"texts": {"speech": "speech.txt"}},
        prompt_lengths={"tokens": [3, 12], "prompts": 4},
        ablation={"text": "held_out", "held_out_rows": 3, "methods": ["mean"]},
        atlas={"prompt": 2, "heads": 2, "tokens": 5},
        architectures={"two": {"layers": 2, "heads": 4, "d_model": 16, "mlp": False}},
        weight_decays=[0.1],
        figures={"include": INCLUDED},
    )
    snakemake(smoke, "--cores", "2", *study)
    return smoke


@pytest.mark.parametrize(("architecture", "decay"), CONDITIONS)
def test_held_out_perplexity(smoke, architecture, decay):
    """The loops take minutes on the whole split: the first windows, and the count of tokens."""
    folder = condition(smoke, architecture, decay) / "perplexity"
    manifest = json.loads((smoke / "results/smoke/corpus/tokens.json").read_text())
    held_out = np.fromfile(smoke / "results/smoke/corpus/held_out.bin", manifest["dtype"])
    for refit in REFITS:
        table = read_csv(folder / f"{refit}.csv")
        assert table["text"].tolist() == ["held_out"]
        assert table["tokens"].item() == (held_out != manifest["bos"]).sum()
        found = table["perplexity"].item()
        assert found == pytest.approx(np.exp(table["nll"] / table["tokens"]).item(), rel=1e-8)
        log = pd.read_csv(cell(smoke, architecture, decay, refit) / "training.csv")
        # Training's rows begin with BOS and are few: about the same.
        assert np.log(found) == pytest.approx(log["held_out_loss"].iloc[-1], abs=0.1)


def test_perplexity_of_a_text_of_the_users(extended):
    prompts = json.loads((extended / "results/extended/corpus/prompts/passages.json").read_text())
    tokenizer = json.loads((extended / "results/extended/corpus/tokenizer.json").read_text())
    assert tokenizer["added_tokens"][0]["id"] == prompts["bos"]
    ids = [prompts["bos"], *encode(extended, f"{WORDS}\n\n{WORDS}")]
    for refit in REFITS:
        home = extended / f"results/extended/cells/two/wd0.1/{refit}"
        weights = load_file(home / f"checkpoints/step{STEP}.safetensors")
        model = oracles.Model(weights, *SHAPES["two"])
        total, count = model.text_nll(ids, CONTEXT, prompts["bos"])
        table = read_csv(condition(extended, "two", "0.1", "extended") / f"perplexity/{refit}.csv")
        row = table.set_index("text").loc["speech"]
        assert row["tokens"] == count == len(ids) - 1
        expected = np.exp(total / count)
        assert abs(row["perplexity"] - expected) < 1e-5 * expected


def encode(folder, text):
    path = folder / "results/extended/corpus/tokenizer.json"
    return Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids


def test_held_out_rows_and_one_method(extended):
    """Ablation on held-out rows, where beginning tokens separate documents."""
    folder = extended / "results/extended/corpus"
    manifest = json.loads((folder / "tokens.json").read_text())
    held_out = np.fromfile(folder / "held_out.bin", manifest["dtype"]).astype(int)
    count = len(held_out) // (CONTEXT - 1)
    starts = np.linspace(0, count - 1, 3).astype(int) * (CONTEXT - 1)
    rows = [[manifest["bos"], *held_out[s : s + CONTEXT - 1].tolist()] for s in starts]
    home = extended / "results/extended/cells/two/wd0.1/seed1"
    weights = load_file(home / f"checkpoints/step{STEP}.safetensors")
    model = oracles.Model(weights, *SHAPES["two"])
    total, predicted = model.nll(rows, manifest["bos"])
    base = np.exp(total / predicted)
    path = condition(extended, "two", "0.1", "extended") / "ablation/held_out/seed1.csv"
    table = read_csv(path)
    assert set(table["method"]) == {"mean"}
    assert len(table) == 8
    for row in table.itertuples():
        chosen = row.layer - 1, row.head - 1
        vector = model.mean_z(rows, manifest["bos"], *chosen)
        nll, _ = model.nll(rows, manifest["bos"], chosen, vector)
        assert abs(row.ablated_perplexity - np.exp(nll / predicted)) < 1e-5 * base


def first_tokens(cache, layer, head, prompt, tokens):
    block = pattern_of(cache, layer, head, prompt).values[: tokens + 1, : tokens + 1]
    return block[np.tril_indices(tokens + 1)]


@pytest.mark.parametrize(
    ("study", "lengths", "prompts"), [("smoke", [5, 10, 20], 6), ("extended", [3, 12], 4)]
)
def test_stability_by_prompt_length(extended, study, lengths, prompts):
    folder = extended / f"results/{study}/cells/two/wd0.1"
    caches = [open_cache(folder / r / f"caches/step{STEP}/passages.zarr.zip") for r in REFITS]
    path = condition(extended, "two", "0.1", study) / "prompt_length/passages.csv"
    table = read_csv(path).set_index(["tokens", "anchor", "layer"])
    assert sorted(set(table.index.get_level_values("tokens"))) == lengths
    assert (table["prompts"] == prompts).all()
    layers, heads = SHAPES["two"]
    for tokens in lengths:
        for layer in range(1, layers + 1):
            triangles = [
                [
                    [first_tokens(c, layer, h, p, tokens) for p in range(1, prompts + 1)]
                    for h in range(1, heads + 1)
                ]
                for c in caches
            ]
            s, _ = oracles.stability(triangles)
            for refit, values in zip(REFITS, s, strict=True):
                row = table.loc[(tokens, refit, layer)]
                assert row["stability"] == pytest.approx(values.mean(), abs=1e-6)
                assert row["heads_sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_whole_prompts_have_the_stability_of_the_study(smoke):
    """Of 20 tokens, all six prompts are used whole."""
    lengths = read_csv(smoke / "results/smoke/tables/prompt_length.csv")
    layers = read_csv(smoke / "results/smoke/tables/layer_stability.csv")
    keys = ["architecture", "weight_decay", "anchor", "layer"]
    merged = lengths[lengths["tokens"] == 20].merge(layers, on=keys, validate="one_to_one")
    assert len(merged) == len(layers)
    assert np.allclose(merged["stability_x"], merged["stability_y"], atol=1e-6)


def test_the_atlas_shows_best_matches(extended):
    table = read_csv(extended / "results/extended/tables/head_atlas/two/wd0.1.csv")
    folder = condition(extended, "two", "0.1", "extended") / "stability/passages"
    matches = read_csv(folder / "matches.csv").query("anchor == 'seed1'")
    assert table["query"].max() == 5
    assert table["refit"].unique().tolist() == REFITS
    assert table["layer"].unique().tolist() == [1]
    prompts = json.loads((extended / "results/extended/corpus/prompts/passages.json").read_text())
    shown = table[table["key"] == 1].drop_duplicates("query")["query_token"].tolist()
    assert shown[0] == "BOS"
    text = prompts["texts"][1].replace(" ", "␣").replace("\n", "↵")
    assert text.startswith("".join(shown[1:]))
    for (head, refit), part in table.groupby(["head", "refit"]):
        row = part.iloc[0]
        if refit == "seed2":
            found = matches[(matches["layer"] == 1) & (matches["head"] == head)].iloc[0]
            assert row["match"] == found["match"]
            assert row["cosine"] == found["similarity"]
        path = f"cells/two/wd0.1/{refit}/caches/step{STEP}/passages.zarr.zip"
        pattern = pattern_of(open_cache(extended / "results/extended" / path), 1, row["match"], 2)
        for item in part.itertuples():
            value = float(pattern.sel(query=item.query, key=item.key))
            assert item.attention == pytest.approx(value, rel=1e-8)


# (a text of studies/smoke.yaml, what replaces it, jobs)
EDITS = {
    "the correlation shown": (
        "study: smoke",
        "study: smoke\nablation: {correlation: kendall}",
        ["Figure: stability and ablation effects"],
    ),
    "lengths written out": ("study: smoke", "study: smoke\nprompt_lengths: {prompts: 20}", []),
    "a prompt of the atlas": (
        "study: smoke",
        "study: smoke\natlas: {prompt: 3}",
        [
            f"{what} of {a}, wd {w}"
            for what in ("Figure: head atlas", "Table of head atlas")
            for a, w in CONDITIONS
        ],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_config(smoke, edit):
    old, new, expected = EDITS[edit]
    path = smoke / "studies/smoke.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        assert jobs(smoke, *SMOKE) == sorted(expected)
    finally:
        path.write_text(text)
