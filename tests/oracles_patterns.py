"""Naive float64 loops for what else follows from patterns: other layers, the own layer.

`triangles[r][l][h]` is a list over prompts of the flattened lower triangle of one head. Nothing
here imports the library.
"""

import numpy as np
from oracles import head_similarity


def matches_in_any_layer(triangles, anchor):
    """Best matches of an anchor's heads over all layers of every other refit.

    Returns the stability of every head [layer][head], and the proportions of matches
    [layer][layer of the match].
    """
    layers, heads = len(triangles[0]), len(triangles[0][0])
    stability, proportions = np.zeros((layers, heads)), np.zeros((layers, layers))
    for layer in range(layers):
        found = []
        for head in range(heads):
            best = []
            for other, candidates in enumerate(triangles):
                if other == anchor:
                    continue
                scores = [
                    (head_similarity(triangles[anchor][layer][head], candidates[m][g]), m)
                    for m in range(layers)
                    for g in range(heads)
                ]
                score, match = max(scores, key=lambda pair: pair[0])
                best.append(score)
                found.append(match)
            stability[layer, head] = sum(best) / len(best)
        for match in found:
            proportions[layer, match] += 1 / len(found)
    return stability, proportions


def commonness(heads):
    """Mean similarity of every head of one layer with all of them, and with the others only."""
    with_itself, of_others = [], []
    for one in range(len(heads)):
        values = [head_similarity(heads[one], heads[other]) for other in range(len(heads))]
        with_itself.append(sum(values) / len(values))
        others = [value for other, value in enumerate(values) if other != one]
        of_others.append(sum(others) / len(others) if others else float("nan"))
    return with_itself, of_others
