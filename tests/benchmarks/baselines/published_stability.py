"""Head stability in the way of the published notebook. Frozen: not to be tuned or mended.

One anchor. All patterns of all refits are in memory as full squares. A loop over prompts, layers,
the anchor's heads, refits (the anchor's own included) and heads takes one cosine at a time, and
cuts the lower triangle out of both squares each time it needs one.
"""

import torch


def triangle(square):
    lower = torch.tril(square)
    kept = torch.tril(torch.ones_like(square)).bool()
    return lower[kept]


def cosines(patterns, anchor=0):
    """Cosines of an anchor's heads with all heads of the same layer of all refits.

    Args:
        patterns: patterns[prompt][refit][layer] is a tensor [head, query, key].
        anchor: index of the anchor.

    Returns:
        [layer, head, refit, head, prompt].
    """
    layers, heads = len(patterns[0][0]), len(patterns[0][0][0])
    refits = len(patterns[0])
    cosine = torch.nn.CosineSimilarity(dim=1, eps=1e-8)
    found = torch.empty(layers, heads, refits, heads, len(patterns))
    for prompt, of_refits in enumerate(patterns):
        for layer in range(layers):
            for head in range(heads):
                one = triangle(of_refits[anchor][layer][head])[None]
                for refit in range(refits):
                    for candidate in range(heads):
                        other = triangle(of_refits[refit][layer][candidate])[None]
                        found[layer, head, refit, candidate, prompt] = cosine(one, other)
    return found


def stability(found, anchor=0):
    """Stability of the anchor's heads, [layer, head]: mean over prompts, best match, mean."""
    matches = found.mean(dim=4).max(dim=3).values
    others = [refit for refit in range(found.shape[2]) if refit != anchor]
    return matches[:, :, others].mean(dim=2)
