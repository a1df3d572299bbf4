"""A study: what it reads of the user's, its figures and tables, and answers to unknown names."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UserError
from ..registry.rows import ALWAYS, BY_NAME, FIGURES, TABLES
from .check import check_config
from .config_file import short
from .grid import Grid
from .paths import RESULTS, fill
from .schema_data import DataCorpus, FilePrompts, FileTokenizer
from .sources import Place, files_at, place_of

# Files that are named one by one; a study may have thousands of weights.
SHOWN = 20


class Study(Grid):
    """A validated config with the cells, files and figures that follow from it."""

    def __init__(self, raw: object) -> None:
        """Validate the merged config; a UserError names every problem."""
        super().__init__(check_config(raw))
        for figure in self.config.figures.include:
            if missing := self.lacks(figure):
                raise UserError(f"the config has 1 problem:\n  figures.include: {missing}")

    @property
    def figures(self) -> list[str]:
        """Names of the figures made when none is asked for by name."""
        return self.config.figures.include or [f for f in FIGURES if self.lacks(f) is None]

    def lacks(self, figure: str) -> str | None:
        """What the study lacks to draw a figure, and the key to set; None if it can be drawn."""
        missing = BY_NAME[figure].requires(self)
        return f"{figure} needs {missing}" if missing else None

    def require_figure(self, figure: str) -> None:
        """Raise a UserError that says what the study lacks, if it lacks anything, for a figure."""
        if missing := self.lacks(figure):
            raise UserError(f"study {self.name!r}: {missing}")

    def figure_paths(self, *figures: str) -> list[str]:
        """Every file of the named figures (without a name: of those the config includes)."""
        return [
            path
            for figure in figures or self.figures
            for pattern in self.paths.figure_files(FIGURES[figure]).values()
            for path in self.every(pattern)
        ]

    def table_paths(self) -> list[str]:
        """The tables beside the figures the config includes, and that of all heads."""
        rows = [BY_NAME[name] for name in (*self.figures, *ALWAYS)]
        paths = [self.paths.table_of(path) for row in rows for path in row.tables.values()]
        return [file for path in paths for file in self.every(path)]

    def corpus_files(self) -> list[str]:
        """Files of the user's the corpus is read from."""
        corpus = self.config.corpus
        elsewhere = isinstance(corpus, DataCorpus) and corpus.repo
        return [] if elsewhere else list(getattr(corpus, "paths", []))

    def places(self, wildcards: Mapping[str, str]) -> dict[str, Place]:
        """Where the weights of an imported cell are, by step."""
        source = self.config.architectures[wildcards["architecture"]].source
        refit, decay = self.refit(wildcards["refit"]), wildcards["weight_decay"]
        steps = self.checkpoint_steps
        return {str(n): place_of(source, refit.init_seed, refit.data_seed, decay, n) for n in steps}

    def source_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """The user's own files an imported cell is read from; none if they are on the hub."""
        local = [place for place in self.places(wildcards).values() if not place.repo]
        return [path for place in local for path in files_at(place)]

    def tokenizer_files(self) -> list[str]:
        """The user's saved tokenizer, if there is one."""
        tokenizer = self.config.tokenizer
        return [tokenizer.path] if isinstance(tokenizer, FileTokenizer) else []

    def prompt_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """The user's file of the prompt set the wildcards name, if it has one."""
        prompts = self.config.prompts[wildcards["prompts"]]
        return [prompts.path] if isinstance(prompts, FilePrompts) else []

    def ablation_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """What the text the wildcards name is read from: prompts, or held-out tokens."""
        if wildcards["text"] == "held_out":
            return [self.paths.tokens, self.paths.held_out_tokens]
        return [fill(self.paths.prompts, prompts=wildcards["text"])]

    def perplexity_files(self) -> list[str]:
        """Texts of the user's that perplexity is taken on."""
        return list(self.config.perplexity.texts.values())

    def _user_files(self) -> dict[str, str]:
        """The files the config names, with the key that names each."""
        named = {path: f"corpus.paths[{i}]" for i, path in enumerate(self.corpus_files(), start=1)}
        named |= dict.fromkeys(self.tokenizer_files(), "tokenizer.path")
        for cell in self.cells():
            if cell["architecture"] in self.architectures_of("import_weights"):
                key = f"architectures.{cell['architecture']}.source.path"
                named |= dict.fromkeys(self.source_files(cell), key)
        for name in self.config.prompts:
            named |= dict.fromkeys(self.prompt_files({"prompts": name}), f"prompts.{name}.path")
        for name, path in self.config.perplexity.texts.items():
            named[path] = f"perplexity.texts.{name}"
        return named

    def check_files(self) -> None:
        """Check that what the config names can be read and that results can be written.

        A UserError lists the keys whose files cannot be read, and what is wrong with the folder.
        """
        unreadable = (
            (path, key, _why_unreadable(path)) for path, key in self._user_files().items()
        )
        problems = [f"{key}: {_shown(path)} {why}" for path, key, why in unreadable if why]
        if len(problems) > SHOWN:
            problems = [*problems[:SHOWN], f"... and {len(problems) - SHOWN} more files"]
        folder = Path(self.paths.root)
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            problems.append(f"{folder} is not a directory: results go there; move it away")
        elif not os.access(folder, os.W_OK | os.X_OK):
            problems.append(f"{folder} is not writable: results go there")
        if problems:
            raise UserError("this study cannot run:\n  " + "\n  ".join(problems))

    @property
    def unknown_output_pattern(self) -> str:
        """A pattern of figures and tables that no rule makes, and of other studies' outputs."""
        made = [rf"figures/(?!(?:{_any_of(FIGURES.values())})\.(?:pdf|png)$).+"]
        made += [rf"tables/(?!(?:{_any_of(TABLES.values())})\.csv$).+"]
        # A study may read another's file, say its tokenizer: that is an input, not a mistake.
        others = rf"(?!{self.name}/|(?:{self._own_files(f'{RESULTS}/')})$).+"
        return f"{{unknown,{RESULTS}/(?:{self.name}/(?:{'|'.join(made)})|{others})}}"

    @property
    def unknown_target_pattern(self) -> str:
        """A pattern of short names that are no targets (and no files of the user's)."""
        return f"{{unknown,(?!(?:{self._own_files()})$)[A-Za-z0-9_-]+}}"

    def _own_files(self, prefix: str = "") -> str:
        """A pattern of the user's files under a prefix, without it; of no file if there is none."""
        paths = [path for path in self._user_files() if path.startswith(prefix)]
        return "|".join([*(re.escape(path.removeprefix(prefix)) for path in paths), "(?!)"])

    def unknown_output(self, path: str) -> UserError:
        """The message for a file or short name that no rule makes."""
        exports = ["published", "export_transformerlens", "export_huggingface"]
        targets = ["all", "figures", "tables", "measurements", "verify", *exports, *FIGURES]
        if "/" not in path:
            there = f"there are {', '.join(targets)}.{_guess(path, targets)}"
            return UserError(f"there is no target {path!r}; {there}")
        if not path.startswith(f"{self.paths.root}/"):
            return UserError(
                f"{path} is not an output of study {self.name!r}, which this run is about: "
                "name the config of its study with --configfile"
            )
        kind, _, name = path.removeprefix(f"{self.paths.root}/").partition("/")
        if kind not in ("figures", "tables"):
            return UserError(f"no rule makes {path}: docs/results.md lists the files of a study")
        known = list((TABLES if kind == "tables" else FIGURES).values())
        endings = ".csv" if kind == "tables" else ".pdf and .png"
        return UserError(
            f"study {self.name!r} has no {kind[:-1]} {name!r}. There are, each as {endings}: "
            f"{', '.join(known)}.{_guess(name.rsplit('.', 1)[0], known)}"
        )


def _shown(path: str) -> str:
    return path if path.isprintable() and path.strip() == path and len(path) < 200 else short(path)


def _why_unreadable(path: str) -> str | None:
    """What is wrong with a file of the user's, and what to do; None if its first byte is read."""
    try:
        if not Path(path).is_file():
            return "is not a file; paths start in this folder: correct it, or put the file there"
        with open(path, "rb") as handle:
            handle.read(1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte, half a surrogate pair
        reason = getattr(error, "strerror", None) or error
        return f"cannot be read ({reason}); correct the path, or make the file readable"
    return None


def _guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _any_of(names: Iterable[str]) -> str:
    return "|".join(name.format(architecture=".+", weight_decay=".+") for name in names)
