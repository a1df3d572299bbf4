"""A study of models trained elsewhere, from a loopback hub to figures."""

import os
import shutil

import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
import zarr
from driver import copy_repository, jobs, snakemake, write_text
from loopback_hub import COMMIT, LoopbackHub, serving
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from headstability.exports.writing import write_transformerlens
from headstability.model import Shape, Transformer

ONE = {"layers": 1, "heads": 2, "d_model": 16}
SEEDS = (1, 2)
STUDY = ("--configfile", "foreign.yaml")
# The smallest study that exercises every way weights come in.
CONFIG = {
    "study": "foreign",
    "architectures": {
        "hooked": {
            **ONE,
            "source": {
                "type": "transformerlens",
                "repo": "some/weights",
                "revision": COMMIT,
                "path": "run_{seed}/final.pt",
            },
        },
        "pythia": {
            **ONE,
            "source": {"type": "huggingface", "repo": "some/seed{seed}", "revision": "step{step}"},
        },
        "llama": {**ONE, "source": {"type": "huggingface", "path": "models/{seed}"}},
    },
    "refits": 2,
    "weight_decays": [0.1],
    "training": {"steps": 30, "context": 32, "held_out_rows": 8},
    "tokenizer": {"type": "bpe", "vocabulary": 300},
    "prompts": {"passages": {"type": "held_out", "count": 4, "tokens": 12}},
    "figures": {"include": ["layer_stability"]},
}


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


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A copy of the repository in which the study has run, its models, and the hub's requests."""
    base = tmp_path_factory.mktemp("foreign")
    folder = copy_repository(base / "repository")
    hub, models = LoopbackHub(), {}
    for seed in SEEDS:
        own = Transformer(Shape(**ONE, mlp=True, context=32, vocabulary=300))
        own.initialise(seed)
        write_transformerlens(own, base / f"hub/run_{seed}/final.pt", base / f"hub/{seed}.json")
        pythia, llama = net("gpt_neox", seed), net("llama", seed, num_key_value_heads=1)
        pythia.save_pretrained(base / f"seed{seed}")
        llama.save_pretrained(folder / f"models/{seed}")
        hub.add_folder(f"some/seed{seed}", base / f"seed{seed}")
        models[seed] = {"hooked": own.eval(), "pythia": pythia, "llama": llama}
    hub.add_folder("some/weights", base / "hub")
    config = CONFIG | {"corpus": write_text(folder)}
    (folder / "foreign.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with serving(hub), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("HF_HOME", str(base / "cache"))
        snakemake(folder, "all", "--cores", "2", *STUDY)
        yield folder, models, hub


def caches(folder, architecture):
    for seed in SEEDS:
        path = folder / f"results/foreign/cells/{architecture}/wd0.1/seed{seed}/caches/step30"
        store = zarr.storage.ZipStore(path / "passages.zarr.zip", mode="r")
        yield seed, xr.open_zarr(store, consolidated=False)


@pytest.mark.parametrize("architecture", ["hooked", "pythia", "llama"])
def test_caches_hold_the_patterns_of_the_models(studied, architecture):
    folder, models, _ = studied
    for seed, cache in caches(folder, architecture):
        model = models[seed][architecture]
        for prompt in cache.prompt.values:
            tokens = cache.token.values[cache.position_prompt.values == prompt][None]
            with torch.inference_mode():
                if architecture == "hooked":
                    (traced,) = model.trace(torch.from_numpy(tokens))
                    expected = traced.pattern[0]
                else:
                    out = model(torch.from_numpy(tokens), output_attentions=True)
                    expected = out.attentions[0][0]
            here = cache.isel(entry=(cache.entry_prompt == prompt).values, layer=0)
            query, key = here["query"].values - 1, here["key"].values - 1
            found = torch.from_numpy(here.pattern.values)
            assert torch.allclose(found, expected[:, query, key], atol=1e-5)


def test_everything_after_training_is_there(studied):
    folder, _, _ = studied
    root = folder / "results/foreign"
    table = pd.read_csv(root / "tables/layer_stability.csv")
    assert set(table.architecture) == {"hooked", "pythia", "llama"}
    assert table.stability.between(0, 1).all()
    assert table.held_out_loss.between(3, 15).all()
    heads = pd.read_csv(root / "tables/heads.csv")
    assert len(heads) == 3 * 2 * 2
    assert heads.delta_loss.abs().min() > 0
    assert (root / "figures/layer_stability.png").exists()


def test_files_of_a_cell(studied):
    folder, _, _ = studied
    for cell in (folder / "results/foreign/cells").glob("*/*/*"):
        files = [path for path in cell.rglob("*") if path.is_file()]
        assert len(files) <= 12
        assert not (cell / "training.csv").exists()


def test_a_second_run_does_nothing_and_asks_the_hub_for_nothing(studied):
    folder, _, hub = studied
    before = len(hub.requests)
    assert jobs(folder, "all", *STUDY) == []
    assert len(hub.requests) == before


def test_verify_finds_everything_in_order(studied):
    folder, _, _ = studied
    output = snakemake(folder, "verify", "--cores", "1", *STUDY)
    assert "missing" not in output
    assert "damaged" not in output


def test_a_damaged_source_is_one_message(studied):
    folder, _, _ = studied
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
