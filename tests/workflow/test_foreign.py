"""A study of models trained elsewhere, from a loopback hub to figures."""

import hashlib
import os
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
import zarr
from driver import copy_repository, jobs, snakemake, write_text
from loopback_hub import LoopbackHub, serving
from loopback_web import serving_files
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from headstability.exchange.exporting import write_transformerlens
from headstability.models.shape import Shape
from headstability.models.transformer import Transformer
from headstability.registry.rows import FIGURES
from headstability.text.tokenizers import train_tokenizer

ONE = {"layers": 1, "heads": 2, "d_model": 16}
SEEDS = (1, 2)
STUDY = ("--configfile", "foreign.yaml")
RELEASED = ("--configfile", "released.yaml")
SMALL = {"figures": {"include": ["layer_stability"]}, "refits": 2}
# Of models trained here everything can be drawn; so of these, but for what needs other studies.
DRAWN = ["layer_stability", "head_map", "residual", "attention_norms", "weight_norms", "roles"]
DRAWN += ["perplexity", "prompt_length", "head_atlas", "stability_ablation", "adjusted", "claims"]
CONFIG = {
    "study": "foreign",
    "figures": {"include": DRAWN},
    "refits": 2,
    "prompt_lengths": {"tokens": [5, 10], "prompts": 4},
    "architectures": {
        "pythia": {
            **ONE,
            "source": {"type": "huggingface", "repo": "some/seed{seed}", "revision": "step{step}"},
        },
        "llama": {**ONE, "source": {"type": "huggingface", "path": "models/{seed}"}},
    },
    "weight_decays": [0.1],
    "training": {"steps": 30, "context": 32, "held_out_rows": 8},
    "tokenizer": {"type": "bpe", "vocabulary": 300},
    "prompts": {"passages": {"type": "held_out", "count": 4, "tokens": 12}},
}
# The form of the released models at a smaller width.
WIDTH, CONTEXT, VOCABULARY = 16, 64, 300
BOS = "<|BOS|>"


def net(kind, seed, **values):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        kind,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        vocab_size=304,
        initializer_range=0.3,
        **values,
    )
    config._attn_implementation = "eager"
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()


def release(base, hub, config):
    """Put small models and a tokenizer on a hub where studies/released.yaml looks for them."""
    source = config["architectures"]["l8_h8"]["source"]
    models = {}
    for decay, name in source["decays"].items():
        for seed in SEEDS:
            model = Transformer(Shape(8, 8, WIDTH, True, CONTEXT, VOCABULARY))
            model.initialise(seed + 10 * (decay != "0"))
            path = base / source["path"].format(decay=name, seed=seed)
            write_transformerlens(model, path, base / "config.json")
            hub.files[f"{source['repo']}/{path.relative_to(base)}"] = path.read_bytes()
            models[decay, seed] = model.eval()
    tokenizer = train_tokenizer(["some text of words", "and more of it"], VOCABULARY - 1)
    tokenizer.add_special_tokens([BOS])
    hub.files[f"{config['tokenizer']['repo']}/tokenizer.json"] = tokenizer.to_str().encode()
    hub.revisions.add(source["revision"])
    return models


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub, and a cache of its own, that the workflow's jobs use."""
    hub = LoopbackHub()
    with serving(hub), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("cache")))
        yield hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("foreign") / "repository")


@pytest.fixture(scope="module")
def studied(tmp_path_factory, folder, hub):
    """The repository in which the study has run, and its models."""
    base, models = tmp_path_factory.mktemp("models"), {}
    for seed in SEEDS:
        pythia, llama = net("gpt_neox", seed), net("llama", seed, num_key_value_heads=1)
        pythia.save_pretrained(base / f"seed{seed}")
        llama.save_pretrained(folder / f"models/{seed}")
        hub.add_folder(f"some/seed{seed}", base / f"seed{seed}")
        models[seed] = {"pythia": pythia, "llama": llama}
    config = CONFIG | {"corpus": write_text(folder)}
    (folder / "foreign.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    snakemake(folder, "all", "--cores", "2", *STUDY)
    return folder, models


@pytest.fixture(scope="module")
def released(tmp_path_factory, folder, hub):
    """The repository in which studies/released.yaml has run at reduced width, and its models."""
    config = yaml.safe_load((folder / "studies/released.yaml").read_text()) | SMALL
    config["architectures"]["l8_h8"]["d_model"] = WIDTH
    config["training"] = {"steps": 390625, "context": CONTEXT, "held_out_rows": 4}
    config["corpus"] = write_text(folder)
    prompts = pickle.dumps(["some text", "more words of it", "and text"])
    models = release(tmp_path_factory.mktemp("release"), hub, config)
    with serving_files({"100_prompts.pkl": prompts}) as (address, _):
        config["prompts"]["paper"] |= {
            "url": f"{address}/100_prompts.pkl",
            "sha256": hashlib.sha256(prompts).hexdigest(),
        }
        (folder / "released.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        snakemake(folder, "all", "published", "--cores", "2", *RELEASED)
    return folder, models


def test_the_released_study_runs_at_reduced_width(released):
    folder, models = released
    root = folder / "results/released"
    for (decay, seed), model in models.items():
        path = root / f"cells/l8_h8/wd{decay}/seed{seed}/caches/step390625/paper.zarr.zip"
        cache = xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), consolidated=False)
        tokens = cache.token.values[cache.position_prompt.values == 2][None]
        here = cache.isel(entry=(cache.entry_prompt == 2).values)
        query, key = here["query"].values - 1, here["key"].values - 1
        for layer, traced in enumerate(model.trace(torch.from_numpy(tokens))):
            found = torch.from_numpy(here.pattern.values[layer])
            assert torch.allclose(found, traced.pattern[0, :, query, key].detach(), atol=1e-5)
    table = pd.read_csv(root / "tables/published.csv")
    assert set(table.weight_decay) == {0, 0.1}
    assert len(table) == 2 * (4 + 8)
    assert np.allclose(table.ours - table.published, table.difference)
    stability = pd.read_csv(root / "tables/layer_stability.csv")
    ours = stability[(stability.anchor == "seed1") & (stability.weight_decay == 0)]
    by_layer = table[(table.quantity == "stability") & (table.weight_decay == 0)]
    assert np.allclose(by_layer.ours, ours.stability)


def caches(folder, architecture):
    for seed in SEEDS:
        path = folder / f"results/foreign/cells/{architecture}/wd0.1/seed{seed}/caches/step30"
        store = zarr.storage.ZipStore(path / "passages.zarr.zip", mode="r")
        yield seed, xr.open_zarr(store, consolidated=False)


@pytest.mark.parametrize("architecture", ["pythia", "llama"])
def test_caches_hold_the_patterns_of_the_models(studied, architecture):
    folder, models = studied
    for seed, cache in caches(folder, architecture):
        model = models[seed][architecture]
        for prompt in cache.prompt.values:
            tokens = cache.token.values[cache.position_prompt.values == prompt][None]
            with torch.inference_mode():
                out = model(torch.from_numpy(tokens), output_attentions=True)
            expected = out.attentions[0][0]
            here = cache.isel(entry=(cache.entry_prompt == prompt).values, layer=0)
            query, key = here["query"].values - 1, here["key"].values - 1
            found = torch.from_numpy(here.pattern.values)
            assert torch.allclose(found, expected[:, query, key], atol=1e-5)


def test_everything_after_training_is_there(studied):
    folder, models = studied
    root = folder / "results/foreign"
    table = pd.read_csv(root / "tables/layer_stability.csv")
    assert set(table.architecture) == {"pythia", "llama"}
    assert table.stability.between(0, 1).all()
    assert table.held_out_loss.between(3, 15).all()
    heads = pd.read_csv(root / "tables/heads.csv")
    assert len(heads) == 2 * 2 * 2 * 2
    assert heads.delta_loss.abs().min() > 0
    for figure in DRAWN:
        name = FIGURES[figure].format(architecture="pythia", weight_decay="0.1")
        assert (root / f"figures/{name}.png").exists()
    perplexity = pd.read_csv(root / "tables/perplexity.csv")
    assert perplexity.perplexity.between(50, 1000).all(), "these models know nothing"
    norms = pd.read_csv(root / "conditions/llama/wd0.1/step30/norms/passages/weights.csv")
    found = norms.set_index(["refit", "matrix"]).norm
    for seed in SEEDS:
        weight = models[seed]["llama"].model.layers[0].self_attn.k_proj.weight
        assert found[f"seed{seed}", "W_K"] == pytest.approx(weight.norm().item(), rel=1e-5)


def test_files_of_a_cell(studied):
    folder, _ = studied
    for cell in (folder / "results/foreign/cells").glob("*/*/*"):
        files = [path for path in cell.rglob("*") if path.is_file()]
        assert len(files) <= 12
        assert not (cell / "training.csv").exists()


def test_a_second_run_does_nothing_and_asks_the_hub_for_nothing(studied, hub):
    folder, _ = studied
    before = len(hub.requests)
    assert jobs(folder, "all", *STUDY) == []
    assert len(hub.requests) == before


def test_verify_finds_everything_in_order(studied):
    folder, _ = studied
    output = snakemake(folder, "verify", "--cores", "1", *STUDY)
    assert "missing" not in output
    assert "damaged" not in output


def test_a_damaged_source_is_one_message(studied):
    folder, _ = studied
    path = folder / "models/1/model.safetensors"
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(data[:-64])
    target = "results/foreign/cells/llama/wd0.1/seed1/provenance.json"
    try:
        output = snakemake(folder, target, "--cores", "1", *STUDY, ok=False)
    finally:
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "Error in import_weights: " in output
    assert "model.safetensors is no complete weights file" in output
    assert "Traceback" not in output.split("Error in import_weights")[1].split("\n\n")[0]
    shutil.rmtree(folder / ".snakemake/incomplete", ignore_errors=True)
