"""Head stability in the way of the published notebook. Frozen: not to be tuned or mended.

One anchor. The caches of all refits on all prompts are in memory, with patterns as full squares. A
loop over prompts, layers, the anchor's heads, refits (the anchor's own included) and heads takes
one cosine at a time, looks every pattern up by its name, and cuts the lower triangle out of both
squares each time it needs one.
"""

import torch

DEVICE = "cpu"


class PlainCache(dict):
    """Stands in for TransformerLens' cache where that is not installed: it has less to do."""

    def to(self, device):
        return PlainCache({name: value.to(device) for name, value in self.items()})


def plain_name(name, layer, kind):
    return f"blocks.{layer}.{kind}ttn.hook_{name}"


def triangle(square):
    lower = torch.tril(square)
    kept = torch.tril(torch.ones_like(square, device=DEVICE)).bool()
    return lower[kept]


def cosines(caches, layers, heads, name=plain_name, anchor=0):
    """Cosines of an anchor's heads with all heads of the same layer of all refits.

    Args:
        caches: caches[prompt][refit] holds patterns [head, query, key] under names.
        layers: number of layers.
        heads: number of heads.
        name: from ("pattern", layer, "a") to the name of a pattern.
        anchor: index of the anchor.

    Returns:
        [layer, head, refit, head, prompt].
    """
    refits = len(caches[0])
    cosine = torch.nn.CosineSimilarity(dim=1, eps=1e-8)
    found = torch.empty((layers, heads, refits, heads, len(caches)), device=DEVICE)
    for prompt, of_refits in enumerate(caches):
        of_anchor = of_refits[anchor].to(DEVICE)
        for layer in range(layers):
            for head in range(heads):
                one = of_anchor[name("pattern", layer, "a")][head]
                one = torch.unsqueeze(triangle(one.to(DEVICE)), 0)
                for refit in range(refits):
                    cache = of_refits[refit].to(DEVICE)
                    for candidate in range(heads):
                        other = cache[name("pattern", layer, "a")][candidate]
                        other = torch.unsqueeze(triangle(other.to(DEVICE)), 0)
                        found[layer, head, refit, candidate, prompt] = cosine(one, other)
    return found


def stability(found, anchor=0):
    """Stability of the anchor's heads, [layer, head]: mean over prompts, best match, mean."""
    matches = found.mean(dim=4).max(dim=3).values
    others = [refit for refit in range(found.shape[2]) if refit != anchor]
    return matches[:, :, others].mean(dim=2)
