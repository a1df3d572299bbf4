"""One map of the heads of many models (docs/experiments.md, "Meta-SNE"). Arrays only.

A head is described by how far apart it places the prompts, which does not depend on the width, the
rotation or the number of its model's heads; t-SNE places heads with similar descriptions together.
"""

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

DEFAULT_PERPLEXITY = 30.0


def prompt_distances(z_mean: np.ndarray) -> np.ndarray:
    """Distances between prompts, as every head sees them.

    Args:
        z_mean: z of each head, averaged over a prompt's tokens, [head, prompt, d_head].

    Returns:
        [head, prompt (prompt - 1) / 2], float32: the upper triangle of each head's matrix of L2
        distances times sqrt 2, so that two of these vectors are as far apart as two matrices.
    """
    vectors = [pdist(np.asarray(head, dtype=np.float64)) for head in z_mean]
    return (np.sqrt(2) * np.stack(vectors)).astype(np.float32)


def default_perplexity(heads: int) -> float:
    """30, or less with few heads: t-SNE uses three times as many neighbours."""
    return min(DEFAULT_PERPLEXITY, max(1.0, (heads - 1) / 3))


def embed(vectors: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """A map of the heads by t-SNE (van der Maaten & Hinton 2008; Barnes-Hut, from PCA).

    Args:
        vectors: [head, feature], at least 2 of each.
        perplexity: above 0, below the number of heads.
        seed: seed of t-SNE.

    Returns:
        [head, 2], no units. The same bytes for the same input: one thread.
    """
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        return tsne.fit_transform(vectors)
