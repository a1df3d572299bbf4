import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_model import oracle_of

from headstability.errors import Stopped, UserError
from headstability.models.shape import Shape
from headstability.text.token_files import TokenFile
from headstability.training import loss as losses
from headstability.training.loop import Trainer, publish
from headstability.training.loss import mean_loss
from headstability.training.settings import Cell, Recipe, learning_rate, make_optimizer

RECIPE = Recipe(
    steps=12,
    batch=4,
    context=16,
    learning_rate=1e-2,
    warmup_steps=0,
    schedule="constant",
    betas=(0.9, 0.999),
    clip=None,
    precision="float32",
    compile=None,
    microbatch=None,
    device="cpu",
    log_every=5,
    evaluate_every=4,
    held_out_rows=3,
)
SHAPE = Shape(layers=2, heads=2, d_model=8, mlp=True, context=16, vocabulary=30)


def tokens(length=1500, seed=0):
    ids = np.random.default_rng(seed).integers(1, 30, length).astype(np.uint16)
    ids[::97] = 0
    return TokenFile(ids, bos=0, vocabulary=30, sha256=f"tokens{seed}")


def cell(weight_decay=0.0, steps=(0, 6, 12), **changes):
    recipe = replace(RECIPE, **changes)
    return Cell("a/wd0/seed1", SHAPE, recipe, weight_decay, 1, 1, list(steps))


def never():
    return None


def trainer(folder, what=None, fingerprint="f", train=None):
    return Trainer(what or cell(), train or tokens(), tokens(400, 1), folder, fingerprint)


def outcome(trained):
    return trained.sha256, trained.table.to_csv(), trained.provenance


ARMS = {
    "adam": {"weight_decay": 0.0},
    "adamw": {"weight_decay": 0.3},
    "warmup, cosine, clipping": {"warmup_steps": 3, "schedule": "cosine", "clip": 0.1},
    "bfloat16": {"precision": "bfloat16"},
    "tf32": {"precision": "tf32"},
    "microbatches": {"microbatch": 3},
    "two epochs": {"batch": 30},
}


@pytest.mark.parametrize("stop_at", [1, 5, 6, 11])
@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_resumed_training_ends_bit_identical(tmp_path, arm, stop_at):
    whole = trainer(tmp_path / "whole", cell(**arm))
    whole.run(1e9, never)

    stopped = trainer(tmp_path / "stopped", cell(**arm))
    with pytest.raises(Stopped, match=f"stopped by SIGTERM after step {stop_at} of 12"):
        stopped.run(1e9, lambda: "SIGTERM" if stopped.step == stop_at else None)
    again = trainer(tmp_path / "stopped", cell(**arm))
    assert again.resume()
    assert again.step == stop_at
    again.run(1e9, never)
    assert outcome(again.result()) == outcome(whole.result())
    for step, path in again.result().weights.items():
        assert path.read_bytes() == whole.kept_path(step).read_bytes()


def test_saving_on_the_way_changes_nothing(tmp_path):
    often, never_saved = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    often.run(0, never)
    never_saved.run(1e9, never)
    assert outcome(often.result()) == outcome(never_saved.result())
    assert often.state_path.exists()
    assert not never_saved.state_path.exists()


def test_another_job_does_not_take_up_the_state(tmp_path):
    first = trainer(tmp_path)
    first.save()
    assert trainer(tmp_path).resume()
    assert not trainer(tmp_path, fingerprint="other code or config").resume()
    assert not trainer(tmp_path, train=tokens(1500, 5)).resume()


def test_a_damaged_state_starts_again(tmp_path, capsys):
    first = trainer(tmp_path)
    first.run(0, never)
    data = first.state_path.read_bytes()
    first.state_path.write_bytes(data[: len(data) // 2])
    again = trainer(tmp_path)
    assert not again.resume()
    assert "starts again from step 0" in capsys.readouterr().out
    again.run(1e9, never)
    assert outcome(again.result()) == outcome(first.result())


def test_a_state_without_its_kept_weights_starts_again(tmp_path):
    first = trainer(tmp_path)
    first.run(0, never)
    first.save()
    first.kept_path(6).unlink()
    assert not trainer(tmp_path).resume()


def test_seeds_decide_everything_and_nothing_else_does(tmp_path):
    def final(name, **changes):
        one = trainer(tmp_path / name, replace(cell(steps=(12,)), **changes))
        one.run(1e9, never)
        return one.result().sha256

    base = final("base")
    torch.manual_seed(99)
    np.random.seed(99)
    assert final("again") == base
    init, data = final("init", init_seed=2), final("data", data_seed=2)
    assert init[0] != base[0]
    assert data[0] == base[0], "the data seed does not touch initial weights"
    assert len({base[12], init[12], data[12]}) == 3


def test_table(tmp_path):
    one = trainer(tmp_path)
    one.run(1e9, never)
    table = one.result().table
    assert table["step"].tolist() == [0, 4, 5, 8, 10, 12]
    assert (table["tokens"] == table["step"] * 4 * 16).all()
    assert table["held_out_loss"].notna().tolist() == [True, True, False, True, False, True]
    assert table["loss"].notna().tolist() == [False] + [True] * 5
    assert (table["gradient_norm"][1:] > 0).all()
    assert one.result().provenance["held_out_loss"] == table["held_out_loss"].iloc[-1]


def test_first_step_against_adam_by_hand(tmp_path):
    """Adam's first step moves every weight by lr * sign(gradient), decay comes on top."""
    for decay in (0.0, 0.5):
        one = trainer(tmp_path / str(decay), cell(decay))
        before = {n: p.detach().clone() for n, p in one.model.named_parameters()}
        rows = one.batches.of(0).numpy()
        loss = torch.nn.functional.cross_entropy(
            one.model(torch.from_numpy(rows))[:, :-1].reshape(-1, 30),
            torch.from_numpy(rows)[:, 1:].reshape(-1),
        )
        gradients = torch.autograd.grad(loss, list(one.model.parameters()))
        one._one_step()
        for (name, p), g in zip(one.model.named_parameters(), gradients, strict=True):
            expected = before[name] * (1 - 1e-2 * decay) - 1e-2 * g / (g.abs() + 1e-8)
            sure = g.abs() > 1e-5
            assert torch.allclose(p[sure], expected[sure], atol=2e-5), name


def test_optimizer_by_weight_decay(tmp_path):
    model = trainer(tmp_path).model
    assert type(make_optimizer(model, 0.0, RECIPE)) is torch.optim.Adam
    decayed = make_optimizer(model, 0.2, RECIPE)
    assert type(decayed) is torch.optim.AdamW
    parameters = sum(len(group["params"]) for group in decayed.param_groups)
    assert parameters == len(list(model.parameters())), "decay acts on every parameter"
    assert {group["weight_decay"] for group in decayed.param_groups} == {0.2}


def test_schedules():
    def rates(**changes):
        return [learning_rate(step, replace(RECIPE, **changes)) for step in range(12)]

    assert rates() == [1e-2] * 12
    assert rates(warmup_steps=4)[:5] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2, 1e-2])
    linear = rates(schedule="linear", warmup_steps=2)
    assert linear[2:] == pytest.approx([1e-2 * (1 - k / 10) for k in range(10)])
    cosine = rates(schedule="cosine")
    expected = [1e-2 * (1 + math.cos(math.pi * k / 12)) / 2 for k in range(12)]
    assert cosine == pytest.approx(expected)


@pytest.mark.parametrize("logit_bytes", [1, 4 * 30 * 7, 2**20])
def test_mean_loss_agrees_with_naive_loops(tmp_path, monkeypatch, logit_bytes):
    monkeypatch.setitem(losses.LOGIT_BYTES, "cpu", logit_bytes)
    one = trainer(tmp_path)
    rows = tokens(200, 3).spread_rows(5, 16)
    assert (rows[:, 1:] == 0).any(), "the test needs a document's end inside a row"
    total, count = oracle_of(one.model.requires_grad_(False)).nll(rows.tolist(), bos=0)
    assert mean_loss(one.model, rows, 0, batch=2) == pytest.approx(total / count, abs=1e-6)


def test_not_a_number_stops_with_a_remedy(tmp_path):
    one = trainer(tmp_path, cell(steps=(12,)))
    with torch.no_grad():
        one.model.unembed.weight.fill_(float("inf"))
    with pytest.raises(UserError, match=r"not finite at step \d+ of 12.*learning_rate") as error:
        one.run(1e9, never)
    assert str(error.value).startswith("a/wd0/seed1")


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [(45, 400, "holds 3 rows of 16 tokens, less than one batch of 4"), (1500, 9, "held-out split")],
)
def test_a_corpus_too_small(tmp_path, train, held_out, message):
    with pytest.raises(UserError, match=message):
        Trainer(cell(), tokens(train), tokens(held_out), tmp_path, "f")


def test_publish_leaves_the_kept_file(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("weights")
    target = tmp_path / "deep" / "checkpoints" / "step1"
    publish(kept, target)
    assert target.read_text() == kept.read_text() == "weights"
    assert list(target.parent.iterdir()) == [target]
