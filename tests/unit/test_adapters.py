"""Models of `transformers`, run layer by layer: against the library itself and naive loops.

Every family is compared with the library; naive loops stand beside those that `oracles_foreign`
describes.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles_foreign import DESCRIBED, foreign_attention
from test_ablation import random_prompts
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from headstability.analysis.ablation import ablate_heads
from headstability.analysis.activations import activations
from headstability.analysis.cell_roles import synthetic_scores
from headstability.analysis.perplexity import text_nll
from headstability.analysis.weight_norms import matrix_norms, weight_matrices
from headstability.measures.roles import role_scores
from headstability.models.families import FAMILIES
from headstability.models.foreign import ForeignModel
from headstability.storage.stores import pattern_of

CPU = torch.device("cpu")
BOS = 3
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 24,
    "vocab_size": 50,
}
TOKENS = {"bos_token_id": BOS, "eos_token_id": BOS, "pad_token_id": None}
# Tiny models, one of every family and some of unusual kinds: name, model_type, config.
MODELS = {kind: (kind, SIZES) for kind in FAMILIES} | {
    "gpt2-crfm": (
        "gpt2",
        {**SIZES, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ),
    "neox-sequential": ("gpt_neox", {**SIZES, "use_parallel_residual": False}),
    "llama-wide-heads": ("llama", {**SIZES, "head_dim": 6, "attention_bias": True}),
    "llama-one-value-head": ("llama", {**SIZES, "num_key_value_heads": 1}),
    "mistral-short-sight": ("mistral", {**SIZES, "head_dim": 4, "sliding_window": 5}),
}


def random_net(name, seed=0):
    """A model of `transformers` with every parameter, biases and norms included, drawn."""
    kind, values = MODELS[name]
    config = AutoConfig.for_model(kind, **values, **TOKENS)
    config._attn_implementation = "eager"
    net = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval().requires_grad_(False)
    torch.manual_seed(seed)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.3 if parameter.ndim == 1 else 0.0, 0.4)
    return net


@pytest.fixture(params=MODELS, scope="module")
def net(request):
    return random_net(request.param)


@pytest.fixture(params=[name for name, (kind, _) in MODELS.items() if kind in DESCRIBED])
def described(request):
    return random_net(request.param)


def tokens_of(rows=3, length=17):
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(1))


def test_patterns_and_logits_are_those_of_transformers(net):
    tokens = tokens_of()
    expected = net(tokens, output_attentions=True, use_cache=False)
    model = ForeignModel(net)
    traced = list(model.trace(tokens))
    assert len(traced) == model.shape.layers == len(expected.attentions)
    for layer, attention in zip(traced, expected.attentions, strict=True):
        pattern = layer.pattern
        assert pattern.shape == (3, model.shape.heads, 17, 17)
        assert torch.allclose(pattern, attention, atol=1e-5)
        assert torch.allclose(pattern.sum(-1), torch.ones(3, model.shape.heads, 17), atol=1e-5)
        assert pattern.triu(1).abs().max() == 0
    assert torch.allclose(model(tokens), expected.logits, atol=1e-5)


def run_attention(net, layer, tokens, stream=None):
    """What goes into a layer's output projection, and what comes out of the attention.

    By hooks and the library alone.

    Args:
        stream: put in place of what the attention reads.
    """
    family, seen = FAMILIES[net.config.model_type], []
    attention = net.get_submodule(f"{family.layers}.{layer}.{family.attention}")

    def replace(module, arguments, named):
        if stream is None:
            return None
        if arguments:
            return (stream, *arguments[1:]), named
        return arguments, {**named, "hidden_states": stream}

    hooks = [
        attention.register_forward_pre_hook(replace, with_kwargs=True),
        attention.get_submodule(family.output).register_forward_pre_hook(
            lambda module, arguments: seen.append(arguments[0])
        ),
        attention.register_forward_hook(lambda module, arguments, out: seen.append(out[0])),
    ]
    net(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def test_z_and_streams_are_those_of_transformers(net):
    tokens = tokens_of()
    seen = net(tokens, output_hidden_states=True, use_cache=False).hidden_states
    for layer, traced in enumerate(ForeignModel(net).trace(tokens)):
        z, written = run_attention(net, layer, tokens)
        assert torch.allclose(traced.z.transpose(1, 2).flatten(2), z, atol=1e-5)
        assert torch.allclose(traced.resid_pre, seen[layer], atol=1e-5)
        assert torch.allclose(traced.attention_out, written, atol=1e-5)
        assert torch.equal(traced.resid_mid, traced.resid_pre + traced.attention_out)


def test_z_and_stream_agree_with_naive_loops(described):
    """z from patterns and weights, head by head, in float64."""
    net = described
    tokens, config = tokens_of(), net.config
    seen = net(tokens, output_attentions=True, output_hidden_states=True, use_cache=False)
    eps = next(
        getattr(config, name)
        for name in ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps")
        if hasattr(config, name)
    )
    sizes = {
        "heads": config.num_attention_heads,
        "value_heads": getattr(config, "num_key_value_heads", None),
        "eps": eps,
    }
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    for layer, traced in enumerate(ForeignModel(net).trace(tokens)):
        for row in range(len(tokens)):
            before = seen.hidden_states[layer][row].double().numpy()
            pattern = seen.attentions[layer][row].double().numpy()
            kind = config.model_type
            expected, stream = foreign_attention(kind, state, sizes, layer, before, pattern)
            assert np.allclose(traced.z[row], expected, atol=1e-5)
            assert np.allclose(traced.resid_pre[row], before, atol=1e-6)
            assert np.allclose(traced.attention_out[row], stream - before, atol=2e-5)
            assert np.allclose(traced.resid_mid[row], stream, atol=2e-5)


def test_caches_hold_what_transformers_computes_for_each_prompt_alone(net):
    prompts = random_prompts(50, [5, 2, 8, 3])
    data = activations(ForeignModel(copy.deepcopy(net)), prompts, CPU, batch=3)
    for number, prompt in enumerate(prompts, start=1):
        alone = net(torch.tensor([prompt]), output_attentions=True, use_cache=False)
        for layer, attention in enumerate(alone.attentions, start=1):
            for head in range(attention.shape[1]):
                found = pattern_of(data, layer, head + 1, number)
                assert np.allclose(found, attention[0, head], atol=1e-5)


def value_bias(net, layer, head):
    """A head's own constant: its z where the attention reads nothing at all."""
    width = net.config.hidden_size
    z, _ = run_attention(net, layer, tokens_of(1, 2), torch.zeros(1, 2, width))
    return z[0, 0].view(net.config.num_attention_heads, -1)[head]


def projection(net, layer):
    """The output projection of a layer."""
    family = FAMILIES[net.config.model_type]
    return net.get_submodule(f"{family.layers}.{layer}.{family.attention}.{family.output}")


def hooked_nll(net, prompts, layer=None, head=None, vector=0.0):
    """NLL over prompts by the library alone, a head's slice replaced before the projection."""
    hooks = []
    if layer is not None:
        constant = value_bias(net, layer, head)

        def replace(module, arguments):
            z = arguments[0].clone()
            width = z.shape[-1] // net.config.num_attention_heads
            z[..., head * width : (head + 1) * width] = constant + vector
            return (z,)

        hooks.append(projection(net, layer).register_forward_pre_hook(replace))
    total = 0.0
    for prompt in prompts:
        logits = net(torch.tensor([prompt]), use_cache=False).logits[0, :-1].double()
        targets = torch.tensor(prompt[1:])
        losses = F.cross_entropy(logits, targets, reduction="none")
        total += losses[targets != BOS].sum().item()
    for hook in hooks:
        hook.remove()
    return total


def mean_read(net, prompts, layer, head):
    """A head's z less its constant, averaged over positions that are not BOS, by hooks."""
    seen = []
    hook = projection(net, layer).register_forward_pre_hook(
        lambda module, arguments: seen.append(arguments[0][0])
    )
    rows = []
    for prompt in prompts:
        net(torch.tensor([prompt]), use_cache=False)
        width = seen[-1].shape[-1] // net.config.num_attention_heads
        rows.append(seen[-1][torch.tensor(prompt) != BOS, head * width : (head + 1) * width])
    hook.remove()
    return torch.cat(rows).mean(0) - value_bias(net, layer, head)


def test_ablation_agrees_with_a_hook_that_empties_the_slice(net):
    prompts = random_prompts(50, [9, 4, 12, 2, 7])
    model = ForeignModel(copy.deepcopy(net))
    result = ablate_heads(model, prompts, BOS)
    assert result.tokens == sum(token != BOS for prompt in prompts for token in prompt[1:])
    assert result.total == pytest.approx(hooked_nll(net, prompts), rel=1e-5)
    for layer in range(model.shape.layers):
        for head in range(model.shape.heads):
            expected = hooked_nll(net, prompts, layer, head)
            assert result.ablated["zero"][layer, head] == pytest.approx(expected, rel=1e-5)
            vector = mean_read(net, prompts, layer, head)
            expected = hooked_nll(net, prompts, layer, head, vector)
            assert result.ablated["mean"][layer, head] == pytest.approx(expected, rel=1e-5)
    for ablated in result.ablated.values():
        assert np.abs(ablated - result.total).min() > 1e-4, "every head matters here"


def test_perplexity_of_a_text_is_that_of_transformers(net):
    ids = np.array(random_prompts(50, [40])[0])
    count, total = text_nll(ForeignModel(net), ids, BOS, context=17)
    cut = [ids[start : start + 17].tolist() for start in range(0, 39, 16)]
    assert count == sum(token != BOS for token in ids[1:])
    assert total == pytest.approx(hooked_nll(net, cut), rel=1e-5)


def test_roles_are_scored_on_the_patterns_of_transformers(net):
    prompts = [[BOS, *row, *row] for row in tokens_of(2, 8).tolist()]
    found = synthetic_scores(ForeignModel(net), prompts, CPU)
    seen = net(torch.tensor(prompts), output_attentions=True, use_cache=False).attentions
    rows, columns = np.tril_indices(17)
    packed = [attention.numpy()[..., rows, columns].swapaxes(0, 1) for attention in seen]
    slab = np.concatenate(packed).reshape(-1, 2 * len(rows))
    expected = role_scores([(slab, np.full(2, len(rows)))], prompts)
    assert np.allclose(found, expected.reshape(found.shape), atol=1e-5)


def test_matrices_are_all_of_a_layers_and_what_attention_multiplies_with(net):
    config, model = net.config, ForeignModel(net)
    heads, width = config.num_attention_heads, config.hidden_size
    for number, matrices in enumerate(weight_matrices(model)):
        layer = model.layers[number]
        squares = sum((p.double() ** 2).sum().item() for p in layer.parameters() if p.ndim == 2)
        found = sum((matrix.astype(float) ** 2).sum() for matrix in matrices.values())
        assert found == pytest.approx(squares, rel=1e-6), "each matrix once"
        one_each = torch.eye(width)[:, None].repeat(1, 2, 1)
        z, _ = run_attention(net, number, tokens_of(width, 2), one_each)
        constant = torch.cat([value_bias(net, number, head) for head in range(heads)])
        values = matrices["W_V"].reshape(-1, model.shape.d_head, width)
        values = values.repeat(heads // len(values), axis=0).reshape(-1, width)
        assert np.allclose((z[:, 0] - constant).T, values, atol=1e-5)
        writes = projection(net, number)
        nothing = torch.zeros(1, heads * model.shape.d_head)
        written = writes(torch.eye(heads * model.shape.d_head)) - writes(nothing)
        assert np.allclose(written.T, matrices["W_O"], atol=1e-5)


def test_weight_norms_are_those_of_the_heads_matrices(described):
    """Each matrix put together head by head from what acts on a single stream vector."""
    net = described
    config, state = net.config, {n: v.double().numpy() for n, v in net.state_dict().items()}
    heads = config.num_attention_heads
    found = matrix_norms(weight_matrices(ForeignModel(net)))
    for layer in range(config.num_hidden_layers):
        if config.model_type == "gpt2":
            p = f"transformer.h.{layer}."
            query, key, value = np.split(state[f"{p}attn.c_attn.weight"], 3, axis=1)
            read = [state[f"{p}mlp.c_fc.weight"]]
            attention, out = state[f"{p}attn.c_proj.weight"], state[f"{p}mlp.c_proj.weight"]
        elif config.model_type == "gpt_neox":
            p = f"gpt_neox.layers.{layer}."
            parts = np.split(state[f"{p}attention.query_key_value.weight"], 3 * heads)
            query, key, value = (np.concatenate(parts[third::3]) for third in range(3))
            read = [state[f"{p}mlp.dense_h_to_4h.weight"]]
            attention = state[f"{p}attention.dense.weight"].T
            out = state[f"{p}mlp.dense_4h_to_h.weight"].T
        else:
            p = f"model.layers.{layer}."
            query, key, value = (state[f"{p}self_attn.{n}_proj.weight"] for n in "qkv")
            read = [state[f"{p}mlp.{n}_proj.weight"] for n in ("gate", "up")]
            attention = state[f"{p}self_attn.o_proj.weight"].T
            out = state[f"{p}mlp.down_proj.weight"].T
        # What writes is [in, d_model] here: the mean over d_model is taken off each row.
        centred = {"W_O": attention, "W_out": out}
        expected = {n: [w - w.mean(1, keepdims=True)] for n, w in centred.items()}
        expected |= {"W_Q": [query], "W_K": [key], "W_V": [value], "W_in": read}
        assert set(found) == set(expected)
        for matrix, parts in expected.items():
            squares = sum((part**2).sum() for part in parts)
            assert found[matrix][layer] == pytest.approx(np.sqrt(squares), rel=1e-6)


def test_folding_leaves_the_function_and_removes_the_biases(net):
    tokens = tokens_of()
    model = ForeignModel(copy.deepcopy(net))
    before = [traced.z for traced in model.trace(tokens)]
    logits = model(tokens)
    model.fold_value_biases()
    assert torch.allclose(model(tokens), logits, atol=1e-4)
    for layer, traced in enumerate(model.trace(tokens)):
        for head in range(model.shape.heads):
            expected = before[layer][:, head] - value_bias(net, layer, head)
            assert torch.allclose(traced.z[:, head], expected, atol=1e-5)


def test_resuming_with_its_own_heads_changes_nothing(net):
    model = ForeignModel(net)
    x = model.start(tokens_of())
    for block in model.blocks:
        _, z = block.pattern_and_z(x)
        assert torch.allclose(block.resume(x, z), block(x), atol=1e-5)
        doubled = block.resume(x.repeat(2, 1, 1), z.repeat(2, 1, 1, 1))
        assert torch.allclose(doubled, block(x).repeat(2, 1, 1), atol=1e-5)
        x = block(x)


def test_lengths_and_types_may_change_between_calls():
    model = ForeignModel(random_net("gpt_neox"))
    long, short = tokens_of(2, 17), tokens_of(2, 17)[:, :5]
    logits = model(long)
    assert torch.allclose(model(short), logits[:, :5], atol=1e-5)
    assert torch.allclose(model.double()(long).float(), logits, atol=1e-4)


def test_no_hook_stays_behind(net):
    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())

    net(tokens_of())  # whose first call may set hooks of the library's own
    before = hooks()
    model = ForeignModel(net)
    for block, traced in zip(model.blocks, model.trace(tokens_of()), strict=True):
        block.resume(traced.resid_pre, traced.z)
    assert hooks() == before
