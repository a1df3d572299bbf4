"""Size of patterns as caches pack them: lower triangles, row by row (docs/methods.md, "Cache")."""


def triangle_entries(length: int) -> int:
    """Entries of a pattern's lower triangle with its diagonal: T (T + 1) / 2."""
    return length * (length + 1) // 2
