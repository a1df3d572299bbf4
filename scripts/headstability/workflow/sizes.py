"""What the jobs of a study work on, as far as it can be known before they run.

What does not exist yet (a text, a tokenizer, prompts) has two sizes: `at_most`, for the memory and
time a job asks for, and the usual one, for what the study as a whole takes.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.blocks import PREFIX_LENGTHS
from ..conventions import BATCH_BYTES, triangle_entries
from ..measures.similarity import GROUPS
from ..models.shape import Shape
from ..study.schema_data import BpeTokenizer, DataCorpus, FilePrompts, FileTokenizer, HeldOutPrompts
from ..study.study import Study
from .costs import FLOAT, pattern_entries

# Each at most, and usually.
SOTU_BYTES = (12_500_000, 11_900_000)  # of the corpus that comes with the project
HUB_VOCABULARY = (50_304, 50_257)
UNPACKED = (4, 3)  # times the size of a compressed file
FETCHED_PROMPTS = ([64] * 200, [51] * 104)  # tokens; the first are twice what the paper's are
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".parquet"}
# Bytes of text that a token stands for: at most, where text is reckoned from tokens; at least,
# where tokens are from text; usually, by vocabulary, measured on the default corpus for small ones.
LONGEST_TOKEN, SHORTEST_TOKEN = 5, 2
_VOCABULARIES, _TOKEN_BYTES = (256, 300, 1024, 8192, 50_257), (1.0, 1.51, 2.92, 3.9, 4.4)
STREAMED = 2 * BATCH_BYTES  # of a data set held at once: what is read and what is tokenised


class Sizes:
    """Sizes of what a study reads and trains."""

    def __init__(self, study: Study, at_most: bool = False) -> None:
        self.study, self.config, self.at_most = study, study.config, at_most

    def _guess(self, pair: tuple) -> Any:
        return pair[0] if self.at_most else pair[1]

    def shape(self, architecture: str) -> Shape:
        """Shape of the models of an architecture."""
        chosen = self.config.architectures[architecture].model_dump(exclude={"source"})
        return Shape(**chosen, context=self.config.training.context, vocabulary=self.vocabulary)

    @cached_property
    def vocabulary(self) -> int:
        """Ids of the tokenizer."""
        tokenizer = self.config.tokenizer
        if not self.at_most:  # it is known once the text is tokenised
            with suppress(OSError, ValueError, KeyError, TypeError):
                return json.loads(Path(self.study.paths.tokens).read_bytes())["vocabulary"]
        if isinstance(tokenizer, BpeTokenizer):
            return tokenizer.vocabulary
        if isinstance(tokenizer, FileTokenizer):
            return _vocabulary_of(tokenizer.path)
        return self._guess(HUB_VOCABULARY)

    @cached_property
    def _token_bytes(self) -> float:
        known = np.log2(_VOCABULARIES)
        return float(np.interp(math.log2(max(self.vocabulary, 1)), known, _TOKEN_BYTES))

    def tokens_of(self, text: float) -> float:
        """Tokens of a text of some bytes."""
        return text / (SHORTEST_TOKEN if self.at_most else self._token_bytes)

    @cached_property
    def text(self) -> tuple[float, float]:
        """Bytes of the corpus, and of what may be its largest document."""
        corpus, training = self.config.corpus, self.config.training
        own = [
            bytes_of(path) * (self._guess(UNPACKED) if Path(path).suffix in _PACKED else 1)
            for path in self.study.corpus_files()
        ]
        if isinstance(corpus, DataCorpus):
            seen = self.study.steps * training.batch * training.context
            return sum(own) or seen * self._guess((LONGEST_TOKEN, self._token_bytes)), STREAMED
        if getattr(corpus, "documents", None) == "file":
            return sum(own), max(own, default=0)
        size = sum(own) if corpus.type == "text" else self._guess(SOTU_BYTES)
        return size, (max(own, default=0) if own else size) // 50

    @property
    def held_out_bytes(self) -> float:
        """Bytes of held-out text: whole documents, at most one more than their share."""
        size, largest = self.text
        return self.config.corpus.held_out * size + (largest if self.at_most else 0)

    @property
    def judged_tokens(self) -> int:
        """Tokens that a held-out loss of a cell is taken on."""
        context = self.config.training.context
        rows = max(1, int(self.tokens_of(self.held_out_bytes) / (context - 1)))
        return min(self.config.training.held_out_rows, rows) * context

    def lengths(self, prompts: str) -> list[int]:
        """Tokens of each prompt of a set, BOS included; of a file, at most one per byte."""
        chosen, context = self.config.prompts[prompts], self.config.training.context
        if isinstance(chosen, HeldOutPrompts):
            return [chosen.tokens + 1] * chosen.count
        if not isinstance(chosen, FilePrompts) or chosen.path.endswith(".pkl"):
            return self._guess(FETCHED_PROMPTS)
        token = 1 if self.at_most else self._token_bytes
        found = [min(1 + int(size / token), context) for size in _prompt_bytes(chosen.path)]
        return found or [context]


class Work:
    """What one job works on."""

    def __init__(self, sizes: Sizes, wildcards: Mapping[str, str], gpu: bool = False) -> None:
        self.sizes, self.config, self.wildcards, self.gpu = sizes, sizes.config, wildcards, gpu
        # Of a job on several architectures, the shape of the first.
        self.shape = sizes.shape(wildcards.get("architecture", sizes.study.architectures[0]))
        self.refits = 1 if wildcards.get("refit") else len(sizes.study.refits)  # R
        self.heads = self.shape.layers * self.shape.heads  # of all layers, L H
        self.rows = self.refits * self.shape.heads  # heads of a layer in all refits, R H
        self.pairs = self.refits * (self.refits - 1)  # of refits, ordered, R (R - 1)
        # Tokens of each prompt, BOS included; of the tables' prompts if the job names none.
        self.lengths = sizes.lengths(wildcards.get("prompts", self.config.stability.prompts))
        # Tokens of all prompts, and entries of one head's patterns on them.
        self.positions, self.entries = sum(self.lengths), pattern_entries(self.lengths)
        self.groups = min(GROUPS, len(self.lengths))  # of prompts, with similarities of their own
        self.streams = len(self.config.residual.streams)
        self.methods = len(self.config.ablation.methods)
        self.patterns = FLOAT * self.shape.layers * self.rows * self.entries  # bytes
        # Bytes held while the patterns of one layer of a refit are read and hashed.
        self.verifying = 3 * FLOAT * self.shape.heads * self.entries

    @property
    def prefixes(self) -> list[int]:
        """Tokens that prompts are cut to, BOS left aside, as `analysis.prompt_length` does."""
        chosen = self.config.prompt_lengths
        longest = sorted(self.lengths)[-min(chosen.prompts, len(self.lengths))] - 1
        return chosen.tokens or [n for n in PREFIX_LENGTHS if n <= longest] or [longest]

    def slab(self, entries: int, layers: int) -> int:
        """Entries of a slab of at most `entries`, but of one prompt of all rows at least."""
        rows = layers * self.rows
        return max(min(entries, rows * self.entries), rows * triangle_entries(max(self.lengths)))


def bytes_of(path: str) -> int:
    """Bytes of a user's file; 0 if there is none, which its own job says better."""
    return Path(path).stat().st_size if Path(path).is_file() else 0


@cache
def _vocabulary_of(path: str) -> int:
    """Tokens a tokenizer.json lists; 0 if it cannot be read, which its own job says better."""
    try:
        content = json.loads(Path(path).read_bytes())
        return len(content["model"]["vocab"]) + len(content.get("added_tokens", []))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0


@cache
def _prompt_bytes(path: str) -> tuple[int, ...]:
    """Bytes of each prompt of a user's file; none if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        prompts = json.loads(text) if path.endswith(".json") else text.splitlines()
        return tuple(len(str(prompt).encode()) for prompt in prompts if prompt)
    except (OSError, ValueError, TypeError, RecursionError):
        return ()
