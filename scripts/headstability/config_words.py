"""How messages about the config spell keys, values and guesses."""

import datetime
import difflib
from typing import Any


def suggest(word: str, known: list[str]) -> str:
    """A guess at what was meant, to end a message with; empty if nothing is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def short(value: Any) -> str:
    """A value as the config spells it, cut off where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def join(path: list) -> str:
    """A key as messages name it: training.betas[1]."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            plain = isinstance(part, str) and part.isprintable() and 0 < len(part) <= 100
            name = part if plain else short(part)
            text += f".{name}" if text else name
    return text or "(the config)"
