"""How much the modules of this package hold at once, and the lengths they choose.

Apart from them because jobs' memory is reckoned from these numbers before any job runs, where
PyTorch and xarray would be slow to import.
"""

# Prompts that run through a model at once: cached, ablated, and synthetic ones of roles.
CACHE_PROMPTS, ABLATED_PROMPTS, ROLE_PROMPTS = 8, 16, 8
# Heads and methods ablated side by side: more would not fit the processor's caches at the paper's
# width.
ABLATED_VARIANTS = 2
# Positions run at once for perplexity: bounds the logits, which are the largest array.
PERPLEXITY_POSITIONS = 2048
# Pattern entries of all heads, layers and refits held at once: bounds memory whatever the number
# of refits and prompts (one prompt is the least that is read).
SLAB_ENTRIES = 2**25
# For adjusted measures: pattern entries of one layer's heads held at once, and of a whole layer
# that is kept in memory, as the null reads every prompt five times.
ADJUSTED_SLAB_ENTRIES, ADJUSTED_LAYER_ENTRIES = 2**22, 2**25
# Tokens prompts are cut to where the config names no lengths, BOS left aside.
PREFIX_LENGTHS = (5, 10, 20, 30, 40, 50)
# Tokens of the repeated sequence of roles where the config names no number, if it fits twice.
ROLE_TOKENS = 25
