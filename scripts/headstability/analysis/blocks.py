"""How much the modules of this package hold in memory at once, and default lengths.

The memory of jobs is computed from these numbers before any job runs, without PyTorch and xarray,
which are slow to import.
"""

# Prompts run through a model at once: for caches, for ablation, and synthetic ones for roles.
CACHE_PROMPTS, ABLATED_PROMPTS, ROLE_PROMPTS = 8, 16, 8
ABLATED_VARIANTS = 2  # run together: at the paper's width, more do not fit the processor's caches
PERPLEXITY_POSITIONS = 2048  # run at once: bounds the logits, the largest array
# Pattern entries of all heads, layers and refits held at once (one prompt at least), so memory does
# not grow with the number of refits and prompts.
SLAB_ENTRIES = 2**25
# For adjusted measures: pattern entries of one layer held at once. A layer with at most the second
# number of entries stays in memory, since the null reads every prompt five times.
ADJUSTED_SLAB_ENTRIES, ADJUSTED_LAYER_ENTRIES = 2**22, 2**25
# Default lengths, without BOS, that prompts are cut to.
PREFIX_LENGTHS = (5, 10, 20, 30, 40, 50)
ROLE_TOKENS = 25  # default length of the repeated sequence of roles, if it fits twice
