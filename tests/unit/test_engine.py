from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_training import RECIPE, SHAPE, cell, never, outcome, tokens, trainer

from headstability.errors import UserError
from headstability.models import precision
from headstability.models.precision import onednn_is_exact, products
from headstability.models.transformer import Transformer
from headstability.training.engine import Engine
from headstability.training.settings import make_optimizer

CPU = torch.device("cpu")


def prepared(**changes):
    model = Transformer(SHAPE)
    model.initialise(3)
    recipe = replace(RECIPE, **changes)
    return Engine(model, make_optimizer(model, 0.0, recipe), recipe)


def batch(rows=7):
    return torch.from_numpy(tokens().spread_rows(rows, 16))


def gradients_of(one, rows):
    loss = one.gradients(rows)
    return loss, [parameter.grad.clone() for parameter in one.parameters]


def difference(found, wanted):
    """Norm of the difference of two lists of tensors, over the norm of the second."""
    squares = [((a - b).norm() ** 2, b.norm() ** 2) for a, b in zip(found, wanted, strict=True)]
    above, below = (sum(part) for part in zip(*squares, strict=True))
    return float((above / below).sqrt())


def plain_gradients(rows):
    """Loss and gradients in float64, by PyTorch's own cross-entropy."""
    model = prepared().model.double()
    loss = F.cross_entropy(model(rows)[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
    return loss.detach(), torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("microbatch", [None, 1, 2, 3, 6, 7, 50])
def test_gradients_do_not_depend_on_microbatches(microbatch):
    rows = batch()
    loss, gradients = gradients_of(prepared(microbatch=microbatch), rows)
    expected, wanted = plain_gradients(rows)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert difference(gradients, wanted) < 1e-6


@pytest.mark.parametrize("mode", ["tf32", "bfloat16"])
def test_gradients_of_faster_products(mode):
    rows = batch()
    _, gradients = gradients_of(prepared(precision=mode), rows)
    _, wanted = plain_gradients(rows)
    error = difference(gradients, wanted)
    # On the CPU tf32 means float32.
    assert error < 1e-6 if mode == "tf32" else 1e-4 < error < 2e-2
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


def test_norm_and_clipping():
    rows = batch()
    expected, wanted = plain_gradients(rows)
    norm = torch.cat([gradient.flatten() for gradient in wanted]).norm().item()
    free = prepared()
    assert free.step(rows, 0.0, want_norm=False)[1] is None
    loss, found = free.step(rows, 0.0, want_norm=True)
    assert (loss.item(), found.item()) == pytest.approx((expected.item(), norm), rel=1e-5)
    assert {parameter.grad for parameter in free.parameters} == {None}
    clipped = prepared(clip=norm / 2)
    clipped.optimizer = torch.optim.SGD(clipped.parameters, lr=0.0)
    before = [parameter.detach().clone() for parameter in clipped.parameters]
    assert clipped.step(rows, 1.0, want_norm=False)[1].item() == pytest.approx(norm, rel=1e-5)
    moved = [old - new.detach() for old, new in zip(before, clipped.parameters, strict=True)]
    assert difference(moved, [gradient / 2 for gradient in wanted]) < 1e-5


MODES = {
    "float32": {},
    "tf32": {"precision": "tf32"},
    "bfloat16": {"precision": "bfloat16"},
    "microbatches": {"microbatch": 3},
    "bfloat16, microbatches, clipping": {"precision": "bfloat16", "microbatch": 2, "clip": 0.5},
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_every_mode_gives_the_same_bits_again(tmp_path, mode):
    results = []
    for name in ("a", "b"):
        one = trainer(tmp_path / name, cell(**mode))
        one.run(1e9, never)
        results.append(outcome(one.result()))
    assert results[0] == results[1]


def test_modes_share_first_weights_and_refits_differ_in_every_mode(tmp_path):
    for index, mode in enumerate(MODES.values()):
        last = set()
        for seed in (1, 2):
            made = replace(cell(steps=(12,), **mode), init_seed=seed, data_seed=seed)
            one = trainer(tmp_path / f"{index}-{seed}", made)
            one.run(1e9, never)
            last.add(one.result().sha256[12])
        assert len(last) == 2
        assert trainer(tmp_path / "first", cell(**mode)).initial_sha256 == (
            trainer(tmp_path / "first", cell()).initial_sha256
        )


def test_gradients_of_recorded_graphs_have_memory_of_their_own(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    rows = batch()
    one, plain = prepared(compile="cudagraphs", microbatch=3), prepared()
    places = [parameter.grad.data_ptr() for parameter in one.parameters]
    for _ in range(3):
        losses = [each.step(rows, 1e-2, want_norm=False)[0].item() for each in (one, plain)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        assert [parameter.grad.data_ptr() for parameter in one.parameters] == places


@pytest.mark.long
@pytest.mark.parametrize("mode", ["default", "cudagraphs"])
def test_compiled_training_agrees_and_resumes_to_the_bit(tmp_path, mode):
    pytest.importorskip("torch._inductor")
    changes = {"compile": mode, "microbatch": 2}
    whole = trainer(tmp_path / "whole", cell(**changes))
    whole.run(1e9, never)
    plain = trainer(tmp_path / "plain", cell())
    plain.run(1e9, never)
    found, wanted = (one.result().table["loss"].dropna() for one in (whole, plain))
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
    stopped = trainer(tmp_path / "stopped", cell(**changes))
    with pytest.raises(UserError, match="stopped"):
        stopped.run(1e9, lambda: "SIGTERM" if stopped.step == 5 else None)
    again = trainer(tmp_path / "stopped", cell(**changes))
    assert again.resume()
    again.run(1e9, never)
    assert outcome(again.result()) == outcome(whole.result())


def test_no_compiler_is_one_message(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"no no-such-compiler.*training\.compile: null"):
        prepared(compile="default")


def test_steps_without_a_log_read_nothing(tmp_path, monkeypatch):
    """On a GPU, reading a number waits for everything before it."""
    one = trainer(tmp_path, cell(log_every=100, evaluate_every=100))

    def refuse(self):
        raise AssertionError("a number was read")

    for method in ("item", "__float__", "__bool__", "tolist"):
        monkeypatch.setattr(torch.Tensor, method, refuse)
    for _ in range(5):
        assert one._one_step() is None


# --- products -----------------------------------------------------------------------------


def test_float32_products_are_float32_and_the_switch_is_put_back():
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    left, right = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(0))
    exact = left.double() @ right.double()
    for mode in ("float32", "tf32", "bfloat16"):
        with products(mode, CPU):
            assert (left @ right - exact).norm() < 1e-6 * exact.norm()
        assert switch.fp32_precision == before
    with pytest.raises(ValueError, match="inside"), products("float32", CPU):
        raise ValueError("inside")
    assert switch.fp32_precision == before


def test_products_that_round_are_noticed(monkeypatch):
    """On processors that take the permission to round, oneDNN is not chosen."""
    onednn_is_exact.cache_clear()
    plain = torch.Tensor.__matmul__

    def rounded(left, right):
        if left.dtype == torch.float32:
            return plain(left.bfloat16(), right.bfloat16()).float()
        return plain(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not onednn_is_exact()
    monkeypatch.undo()
    onednn_is_exact.cache_clear()
    monkeypatch.setattr(precision, "onednn_is_exact", lambda: False)
    with products("float32", CPU):
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("mode", [{}, {"precision": "bfloat16"}, {"compile": "cudagraphs"}])
def test_training_on_a_gpu_resumes_to_the_bit(tmp_path, mode):
    whole = trainer(tmp_path / "whole", cell(device="cuda", **mode))
    whole.run(1e9, never)
    stopped = trainer(tmp_path / "stopped", cell(device="cuda", **mode))
    with pytest.raises(UserError, match="stopped"):
        stopped.run(1e9, lambda: "SIGTERM" if stopped.step == 5 else None)
    again = trainer(tmp_path / "stopped", cell(device="cuda", **mode))
    assert again.resume()
    again.run(1e9, never)
    assert outcome(again.result()) == outcome(whole.result())
    on_cpu = trainer(tmp_path / "cpu", cell())
    on_cpu.run(1e9, never)
    error = 0.05 if "precision" in mode else 1e-3
    found, wanted = (one.result().table["held_out_loss"].iloc[-1] for one in (whole, on_cpu))
    assert found == pytest.approx(wanted, abs=error)
