"""Naive float64 loops written from the formulas of docs/methods.md, to compare the library with.

Nothing here imports the library: NumPy and plain loops only.
"""

import math

import numpy as np


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(row):
    e = np.exp(row - row.max())
    return e / e.sum()


class Model:
    """The transformer of the methods page, one prompt and one head at a time, in float64."""

    def __init__(self, tensors, layers, heads):
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
        self.layers, self.heads = layers, heads
        self.d_model = self.w["embed.weight"].shape[1]
        self.d_head = self.d_model // heads

    def part(self, layer, name):
        return self.w[f"blocks.{layer}.{name}"]

    def head_weights(self, layer, head):
        """W_Q, W_K, W_V [d_model, d_head], their biases, W_O [d_head, d_model]."""
        qkv, bias = self.part(layer, "attention.qkv.weight"), self.part(layer, "attention.qkv.bias")
        out = []
        for which in range(3):
            first = which * self.d_model + head * self.d_head
            rows = slice(first, first + self.d_head)
            out += [qkv[rows].T, bias[rows]]
        columns = slice(head * self.d_head, (head + 1) * self.d_head)
        return *out, self.part(layer, "attention.out.weight")[:, columns].T

    def run(self, tokens, ablate=None, vector=0):
        """Run one prompt; returns patterns, z, resid_mid by layer, and logits.

        `ablate` = (layer, head), counted from 0: that head's z, value bias folded away, is `vector`
        at every position.
        """
        length = len(tokens)
        x = np.array([self.w["embed.weight"][t] for t in tokens])
        x = x + self.w["position.weight"][:length]
        patterns, zs, mids = [], [], []
        for layer in range(self.layers):
            normed = layer_norm(
                x,
                self.part(layer, "norm_attention.weight"),
                self.part(layer, "norm_attention.bias"),
            )
            attention = np.tile(self.part(layer, "attention.out.bias"), (length, 1))
            layer_patterns, layer_z = [], []
            for head in range(self.heads):
                w_q, b_q, w_k, b_k, w_v, b_v, w_o = self.head_weights(layer, head)
                q, k, v = normed @ w_q + b_q, normed @ w_k + b_k, normed @ w_v
                pattern = np.zeros((length, length))
                for i in range(length):
                    scores = np.array([q[i] @ k[j] for j in range(i + 1)])
                    pattern[i, : i + 1] = softmax(scores / math.sqrt(self.d_head))
                z = pattern @ v
                attention = attention + b_v @ w_o  # the constant part stays
                read = z if ablate != (layer, head) else np.zeros_like(z) + vector
                attention = attention + read @ w_o
                layer_patterns.append(pattern)
                layer_z.append(z + b_v)
            mid = x + attention
            x = self.after_attention(layer, mid)
            patterns.append(layer_patterns)
            zs.append(layer_z)
            mids.append(mid)
        final = layer_norm(x, self.w["norm_final.weight"], self.w["norm_final.bias"])
        logits = final @ self.w["unembed.weight"].T + self.w["unembed.bias"]
        return patterns, zs, mids, logits

    def after_attention(self, layer, mid):
        """The residual stream after a layer, from the one after its attention."""
        if f"blocks.{layer}.mlp_in.weight" not in self.w:
            return mid
        normed = layer_norm(
            mid, self.part(layer, "norm_mlp.weight"), self.part(layer, "norm_mlp.bias")
        )
        hidden = gelu(
            normed @ self.part(layer, "mlp_in.weight").T + self.part(layer, "mlp_in.bias")
        )
        out = hidden @ self.part(layer, "mlp_out.weight").T + self.part(layer, "mlp_out.bias")
        return mid + out

    def mean_z(self, prompts, bos, layer, head):
        """A head's z, value bias folded away, averaged over the positions that are not BOS."""
        rows = []
        for prompt in prompts:
            z = self.run(prompt)[1][layer][head] - self.head_weights(layer, head)[5]
            rows += [z[i] for i in range(len(prompt)) if prompt[i] != bos]
        return sum(rows) / len(rows)

    def text_nll(self, ids, context, bos):
        """NLL of a text in windows that share one token, and the number of predicted tokens."""
        total, count, start = 0.0, 0, 0
        while start + 1 < len(ids):
            nll, predicted = self.nll([ids[start : start + context]], bos)
            total, count, start = total + nll, count + predicted, start + context - 1
        return total, count

    def nll(self, prompts, bos, ablate=None, vector=0):
        """Summed negative log-likelihood over predicted tokens, and their number."""
        total, count = 0.0, 0
        for prompt in prompts:
            logits = self.run(prompt, ablate, vector)[3]
            for i in range(len(prompt) - 1):
                target = prompt[i + 1]
                if target == bos:
                    continue
                top = logits[i].max()
                total += top + math.log(np.exp(logits[i] - top).sum()) - logits[i, target]
                count += 1
        return total, count


def cosine(a, b):
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def head_similarity(one, two):
    """s of two heads: mean over prompts of the cosine of their triangles (lists of vectors)."""
    values = [
        cosine(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(one, two, strict=True)
    ]
    return sum(values) / len(values)


def stability(triangles):
    """S and k by loops.

    `triangles[r][h]` is a list over prompts of a head's flattened lower triangle in one layer.
    Returns S[r][h], and k[r][r'] for r != r'.
    """
    refits, heads = len(triangles), len(triangles[0])

    def match(r, h, other):
        return max(head_similarity(triangles[r][h], triangles[other][g]) for g in range(heads))

    s = np.zeros((refits, heads))
    k = np.full((refits, refits), np.nan)
    for r in range(refits):
        for h in range(heads):
            s[r, h] = np.mean([match(r, h, other) for other in range(refits) if other != r])
        for other in range(refits):
            if other != r:
                forth = np.mean([match(r, h, other) for h in range(heads)])
                back = np.mean([match(other, h, r) for h in range(heads)])
                k[r, other] = (forth + back) / 2
    return s, k


def kendall_tau_b(x, y):
    """Kendall's tau_b by counting pairs."""
    concordant = discordant = ties_x = ties_y = 0
    for i in range(len(x)):
        for j in range(i):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            if a == 0 and b == 0:
                continue
            if a == 0:
                ties_x += 1
            elif b == 0:
                ties_y += 1
            elif a == b:
                concordant += 1
            else:
                discordant += 1
    both = concordant + discordant
    return (concordant - discordant) / math.sqrt((both + ties_x) * (both + ties_y))


def pearson(x, y):
    """Pearson's correlation from its definition."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    dx, dy = x - x.mean(), y - y.mean()
    return (dx * dy).sum() / math.sqrt((dx**2).sum() * (dy**2).sum())
