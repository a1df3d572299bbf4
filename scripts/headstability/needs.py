"""Memory and time of the jobs of a study, by rule: its sizes put into the formulas of `costs`."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from . import condition_costs, costs
from .condition_costs import Condition
from .costs import Need
from .schema_data import (
    BpeTokenizer,
    DataCorpus,
    FilePrompts,
    FileTokenizer,
    SotuCorpus,
    UrlPrompts,
)
from .shape import Shape
from .study import Study

# Bytes of the corpus that comes with the project, rounded up.
SOTU_BYTES = 12_500_000
# Sizes of what is held at once, as in modules that need torch or read files.
CACHE_BATCH = 8  # activations
ABLATION_BATCH, ABLATION_VARIANTS = 16, 2  # ablation
SLAB_ENTRIES, GROUPS = 2**25, 20  # conditions, similarity
ADJUSTED_SLAB, ADJUSTED_LAYER, SHIFTS = 2**22, 2**25, 5  # adjusted_conditions, adjusted
CKA_SLAB, CKA_HELD, CKA_THREADS = 3 * 2**23, 2**26, 2  # cka, rules/streams.smk
POSITIONS = 2048  # perplexity
ROLE_BATCH, ROLE_TOKENS = 8, 25  # role_prompts
HUB_VOCABULARY = 50_304  # usual; a tokenizer of the hub is not there before it is fetched
FETCHED_PROMPTS = (64,) * 200  # tokens; twice what the paper's are, which are not there either
TOKEN_BYTES = 5  # of text a token stands for
UNPACKED = 4  # times the size of a compressed file
STREAMED = 2**23  # bytes of a data set held at once: tokenising, datasets
TEXT_A_THREAD, MOST_THREADS = 2**23, 16  # bytes of text that keep a thread of `tokens` busy
PREFIX_TOKENS = (5, 10, 20, 30, 40, 50)  # prompt_length

# The wildcards the size of a job depends on.
_SIZING = ("architecture", "weight_decay", "prompts", "text")


class Needs:
    """What the jobs of a study need."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._known: dict[tuple, Need] = {}
        self._needs: dict[str, Callable[[Mapping[str, str], bool], Need]] = {
            "corpus": lambda *_: self._text(costs.reading_text),
            "tokenizer": lambda *_: self._text(costs.reading_text),
            "tokens": lambda *_: self._text(costs.tokenising_text),
            "train": self._train,
            "import_weights": lambda wildcards, _: costs.importing(
                self.sizes(wildcards["architecture"]), self.study.config.training.held_out_rows
            ),
            "write_transformerlens": self._export,
            "write_huggingface": self._export,
            "cache": self._cache,
            "ablation": self._ablation,
            "evaluate": self._evaluate,
            "similarity": lambda wildcards, _: condition_costs.comparing_heads(
                self._condition(wildcards), SLAB_ENTRIES, GROUPS
            ),
            "stability": lambda wildcards, _: condition_costs.measuring_stability(
                self._condition(wildcards), GROUPS
            ),
            "adjust": lambda wildcards, _: condition_costs.adjusting(
                self._condition(wildcards), ADJUSTED_SLAB, ADJUSTED_LAYER, GROUPS, SHIFTS
            ),
            "residual_similarity": lambda wildcards, _: condition_costs.comparing_streams(
                self._condition(wildcards), self._streams, CKA_SLAB, CKA_HELD, CKA_THREADS
            ),
            "norms": lambda wildcards, _: condition_costs.taking_norms(self._condition(wildcards)),
            "prefixes": self._prefixes,
            "role_scores": self._role_scores,
            "role_stability": lambda wildcards, _: condition_costs.gathering_roles(
                self._condition(wildcards)
            ),
            "meta_sne_table": self._map,
            "head_atlas_table": lambda wildcards, _: condition_costs.showing_heads(
                self._condition(wildcards)
            ),
        }

    def of(self, rule: str, wildcards: Mapping[str, str], gpu: bool = False) -> Need:
        """What one job needs.

        Args:
            rule: one of those whose jobs grow with the study.
            wildcards: of the job.
            gpu: whether it runs on a GPU.
        """
        # Which refit and step it is of makes no difference.
        key = (rule, gpu, *(wildcards.get(name) for name in _SIZING))
        if key not in self._known:
            self._known[key] = self._needs[rule](wildcards, gpu)
        return self._known[key]

    def sizes(self, architecture: str) -> Shape:
        """Sizes of an architecture."""
        shape = self.study.config.architectures[architecture].model_dump(exclude={"source"})
        context = self.study.config.training.context
        return Shape(**shape, context=context, vocabulary=self.vocabulary())

    def vocabulary(self) -> int:
        """Ids of the tokenizer, as far as can be known before it is loaded."""
        tokenizer = self.study.config.tokenizer
        if isinstance(tokenizer, BpeTokenizer):
            return tokenizer.vocabulary
        if isinstance(tokenizer, FileTokenizer):
            return _vocabulary_of(tokenizer.path)
        return HUB_VOCABULARY

    def text_bytes(self) -> tuple[int, int]:
        """Bytes of the corpus, and of what may be its largest document."""
        corpus = self.study.config.corpus
        if isinstance(corpus, SotuCorpus):
            return SOTU_BYTES, SOTU_BYTES // 50
        if isinstance(corpus, DataCorpus):
            training = self.study.config.training
            seen = self.study.steps * training.batch * training.context * TOKEN_BYTES
            own = [_bytes_of(path) * UNPACKED for path in self.study.corpus_files()]
            return sum(own) or seen, STREAMED
        found = [_bytes_of(path) for path in corpus.paths]
        largest = max(found, default=0)
        return sum(found), largest if corpus.documents == "file" else largest // 50

    def tokenising_threads(self) -> int:
        """Threads worth having for tokenising the corpus: nodes of a cluster may have few."""
        return min(1 + self.text_bytes()[0] // TEXT_A_THREAD, MOST_THREADS)

    def lengths(self, prompts: str) -> list[int]:
        """Tokens of each prompt of a set, BOS included; of a file, at most one a byte."""
        chosen = self.study.config.prompts[prompts]
        if isinstance(chosen, UrlPrompts):
            return list(FETCHED_PROMPTS)
        if isinstance(chosen, FilePrompts):
            context = self.study.config.training.context
            return [min(size + 1, context) for size in _prompt_bytes(chosen.path)] or [context]
        return [chosen.tokens + 1] * chosen.count

    def _text(self, of_text: Callable[..., Need]) -> Need:
        """Reading or tokenising the corpus; of data sets a little at a time is held."""
        size, largest = self.text_bytes()
        if isinstance(self.study.config.corpus, DataCorpus):
            return costs.streaming_text(size, largest)
        return of_text(size, largest) if of_text is costs.tokenising_text else of_text(size)

    def _train(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        training, steps = self.study.config.training, self.study.steps
        evaluations = 2 + steps // training.evaluate_every
        sizes = self.sizes(wildcards["architecture"])
        batch, microbatch = training.batch, training.microbatch
        return costs.training(
            sizes, steps, batch, evaluations, training.held_out_rows, gpu, microbatch
        )

    def _export(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        return costs.exporting(self.sizes(wildcards["architecture"]))

    def _cache(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        sizes, lengths = self.sizes(wildcards["architecture"]), self.lengths(wildcards["prompts"])
        return costs.caching(sizes, lengths, CACHE_BATCH, self._streams)

    def _ablation(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        sizes, text = self.sizes(wildcards["architecture"]), wildcards["text"]
        config = self.study.config.ablation
        held_out = [sizes.context] * config.held_out_rows
        lengths = held_out if text == "held_out" else self.lengths(text)
        return costs.ablating(
            sizes, lengths, ABLATION_BATCH, ABLATION_VARIANTS, len(config.methods)
        )

    def _evaluate(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        corpus = self.study.config.corpus
        own = [_bytes_of(path) for path in self.study.perplexity_files()]
        # Whole documents are held out: one more than their share.
        held_out = corpus.held_out * self.text_bytes()[0] + self.text_bytes()[1]
        return condition_costs.evaluating(
            self.sizes(wildcards["architecture"]),
            int(held_out) + sum(own),
            max(own, default=0),
            max(POSITIONS, self.study.config.training.context),
            gpu,
        )

    @property
    def _streams(self) -> int:
        return len(self.study.config.residual.streams)

    def _condition(self, wildcards: Mapping[str, str]) -> Condition:
        """The condition of a job; of one that names no prompts, on those of the study's tables."""
        prompts = wildcards.get("prompts", self.study.measured["prompts"])
        sizes = self.sizes(wildcards["architecture"])
        return Condition(sizes, len(self.study.refits), self.lengths(prompts))

    def _prefixes(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        chosen = self.study.config.prompt_lengths
        lengths = [tokens + 1 for tokens in chosen.tokens or PREFIX_TOKENS]
        return condition_costs.comparing_prefixes(
            self._condition(wildcards), SLAB_ENTRIES, chosen.prompts, lengths
        )

    def _role_scores(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del gpu
        chosen = self.study.config.roles
        synthetic = [1 + 2 * (chosen.tokens or ROLE_TOKENS)] * chosen.prompts
        cell = Condition(
            self.sizes(wildcards["architecture"]), 1, self.lengths(wildcards["prompts"])
        )
        return condition_costs.scoring_roles(cell, SLAB_ENTRIES, synthetic, ROLE_BATCH)

    def _map(self, wildcards: Mapping[str, str], gpu: bool) -> Need:
        del wildcards, gpu
        names = self.study.architectures
        return condition_costs.mapping_heads(
            [self._condition({"architecture": name}) for name in names]
        )


def _bytes_of(path: str) -> int:
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
