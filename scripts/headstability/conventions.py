"""What several rooms agree on: names of columns, how patterns are packed, sizes of blocks."""

# The columns that say which condition a row is of.
CONDITION = ["architecture", "weight_decay"]
# The anchor or refit of rows that hold means over all of them.
ALL = "all"
# Entries of a layer's patterns in one chunk of a cache. Small, as a few prompts of all refits and
# layers are read at a time: a chunk is read as a whole.
ENTRY_CHUNK = 2**14
# Bytes of text that are tokenised at once.
BATCH_BYTES = 2**22


def triangle_entries(length: int) -> int:
    """Entries of a pattern's lower triangle with its diagonal: T (T + 1) / 2."""
    return length * (length + 1) // 2
