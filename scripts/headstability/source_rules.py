"""Problems between the keys of an architecture's source, each with its key and a remedy."""

from collections.abc import Iterator
from typing import Any

from .config_words import join, short
from .paths import format_weight_decay
from .source_places import PLACEHOLDERS, placeholders
from .sources.folders import COMMIT

_TOKENIZER_PARTS = ("repo", "revision", "path")
CLIMBING = "a place in a repository may not hold .. or line breaks, or begin with /; correct it"


def climbs(text: str) -> bool:
    """Whether a part of a path leads out of where it is put, or a name could not be one."""
    return ".." in text.split("/") or text.startswith("/") or not text.isprintable()


def check_corpus(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems of a corpus that is a data set."""
    corpus, tokenizer = raw.get("corpus"), raw.get("tokenizer")
    if not isinstance(corpus, dict) or corpus.get("type") != "data":
        return
    if bool(corpus.get("repo")) != bool(corpus.get("revision")):
        given = short(corpus.get("revision"))
        text = "goes with corpus.repo: give both, or none for local files"
        yield "corpus.revision", f"{given} {text}"
    kind = tokenizer.get("type") if isinstance(tokenizer, dict) else None
    if corpus.get("tokenised") is True and kind not in ("file", "hub"):
        yield (
            "tokenizer.type",
            "a corpus of token ids comes with its tokenizer: give that as type file or hub",
        )


def check_hub(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems of places in repositories of the hub that text and tokenizer come from."""
    for section, parts in (("corpus", ("repo", "revision")), ("tokenizer", _TOKENIZER_PARTS)):
        chosen = raw.get(section)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("repo"), str):
            continue
        for part in parts:
            if isinstance(text := chosen.get(part), str) and climbs(text):
                yield f"{section}.{part}", f"{short(text)}: {CLIMBING}"


def check_sources(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems of all sources. Runs on unvalidated input."""
    architectures = raw.get("architectures")
    for name, shape in (architectures if isinstance(architectures, dict) else {}).items():
        source = shape.get("source") if isinstance(shape, dict) else None
        if isinstance(source, dict):
            yield from _check_source(f"architectures.{name}.source", source, raw)


def _check_source(key: str, source: dict, raw: dict) -> Iterator[tuple[str, str]]:
    repo, revision, path = (source.get(part) for part in ("repo", "revision", "path"))
    if repo is not None and revision is None:
        yield f"{key}.revision", "missing; name the commit (40 hexadecimal digits), tag or branch"
    if revision is not None and repo is None:
        yield (
            f"{key}.revision",
            f"{short(revision)}: local files have no revision; remove it, or add repo",
        )
    if source.get("type") == "huggingface" and repo is None and path is None:
        yield f"{key}.path", "missing; give a local folder, or repo and revision"
    used: set[str] = set()
    for part, text in (("repo", repo), ("revision", revision), ("path", path)):
        if not isinstance(text, str):
            continue
        try:
            names = placeholders(text)
        except ValueError as error:
            yield (
                f"{key}.{part}",
                f"{short(text)} is no pattern ({error}); write {{seed}} and the like",
            )
            continue
        used |= set(names)
        if unknown := [name for name in names if name not in PLACEHOLDERS]:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            text = f"{short(text)}: {{{unknown[0]}}} stands for nothing; there are {known}"
            yield f"{key}.{part}", text
    if repo is not None:
        yield from _check_climbing(key, source)
    yield from _check_coverage(key, source, raw, used)


def _check_climbing(key: str, source: dict) -> Iterator[tuple[str, str]]:
    """Places in a repository that lie outside of it."""
    places = {part: source.get(part) for part in ("repo", "revision", "path")}
    for section in ("decays", "names"):
        given = source.get(section)
        if isinstance(given, dict):
            places |= {join([section, name]): text for name, text in given.items()}
    for part, text in places.items():
        if isinstance(text, str) and climbs(text):
            yield f"{key}.{part}", f"{short(text)}: {CLIMBING}"


def _check_coverage(key: str, source: dict, raw: dict, used: set[str]) -> Iterator[tuple[str, str]]:
    """Whether different cells and steps have different places."""
    crossed = isinstance(raw.get("refits"), dict)
    of_refits = {"init_seed", "data_seed"} if crossed else {"seed", "init_seed", "name"}
    if crossed and "seed" in used:
        given = short(source.get("path") or source.get("repo"))
        text = "refits cross two seeds: write {init_seed} and {data_seed}"
        yield f"{key}.path", f"{text} in {given}"
    elif not used & of_refits:
        wanted = "{init_seed} and {data_seed}" if crossed else "{seed}"
        yield f"{key}.path", f"the same for every refit; write {wanted} where they differ"
    if "step" not in used and _has_other_steps(raw.get("training")):
        yield f"{key}.path", "the same for every step of training.checkpoint_steps; write {step}"
    decays = raw.get("weight_decays", [0.0, 0.1])
    names = [_decay(value) for value in decays] if isinstance(decays, list) else []
    given = source.get("decays", {})
    if isinstance(given, dict):
        absent = [name for name in names if name is not None and name not in given]
        if "decay" in used and absent:
            yield (
                f"{key}.decays",
                f"lacks what {{decay}} stands for at weight decay {absent[0]}; add it",
            )
        if "decay" not in used and len(names) > 1:
            yield f"{key}.path", "the same for every weight decay; write {decay} and list decays"
    if "name" in used:
        yield from _check_names(key, source, raw)
    revision = source.get("revision")
    if isinstance(revision, str) and "{" not in revision and not COMMIT.fullmatch(revision):
        pinned = source.get("sha256")
        if not pinned and revision in ("main", "master"):
            yield (
                f"{key}.revision",
                f"{revision!r} changes with time; name a commit, or pin files with sha256",
            )


def _check_names(key: str, source: dict, raw: dict) -> Iterator[tuple[str, str]]:
    names, refits = source.get("names", {}), raw.get("refits", 4)
    if not isinstance(names, dict) or isinstance(refits, bool):
        return
    listed = refits if isinstance(refits, list) else []
    seeds = [seed for seed in listed if isinstance(seed, int)]
    if isinstance(refits, int):
        seeds = list(range(1, min(refits, 1000) + 1))
    absent = [str(seed) for seed in seeds if str(seed) not in names]
    if absent:
        yield f"{key}.names", f"lacks what {{name}} stands for with seed {absent[0]}; add it"


def _has_other_steps(training: Any) -> bool:
    """Whether weights of more steps than the last are asked for."""
    if not isinstance(training, dict) or not isinstance(training.get("checkpoint_steps"), list):
        return False
    return any(step != training.get("steps") for step in training["checkpoint_steps"])


def _decay(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return format_weight_decay(value)
