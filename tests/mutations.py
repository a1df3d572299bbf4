"""Mistakes in configs, as hypothesis draws them: one key wrong, several wrong, or odd YAML."""

import copy
import datetime
import string
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from headstability.study.config_file import join

ROOT = Path(__file__).resolve().parents[1]
# A study that uses every section in another way than the shipped ones do.
OTHER = """
study: other
architectures:
  small: {layers: 2, heads: 4, d_model: 16}
  large: {layers: 4, heads: 4, d_model: 32, mlp: false}
refits: {init_seeds: [1, 2], data_seeds: [3, 4]}
weight_decays: [0, 1.0e-3, 0.1]
training: {tokens: 40960, batch: 8, context: 64, betas: [0.9, 0.99], clip: 1.0,
  checkpoint_steps: [0, 20], warmup_steps: 5, schedule: cosine, microbatch: 4}
corpus: {type: text, paths: [a.txt, b.txt], documents: file, seed: 3}
tokenizer: {type: file, path: tokenizer.json, bos: "<s>"}
prompts:
  passages: {type: held_out, count: 6, tokens: 20}
  mine: {type: file, path: prompts.txt}
stability: {prompts: mine, anchor: one}
ablation: {text: held_out, held_out_rows: 8, methods: [mean]}
perplexity: {texts: {wiki: a.txt}}
prompt_lengths: {tokens: [2, 4], prompts: 3}
atlas: {prompt: 2, heads: 3, refits: 2, tokens: 5}
residual: {streams: [resid_mid, resid_pre], kernel: linear}
meta_sne: {perplexity: 4}
time_course: {steps: [0, 20]}
roles: {tokens: 10}
nulls: {measures: [split]}
figures: {include: [pairwise, head_map], palette: Set2}
claims: {depth_share: 0.5}
"""
# A study of models and text from elsewhere: local ones, and those of the hub.
FOREIGN = """
study: foreign
architectures:
  local:
    {layers: 2, heads: 4, d_model: 16,
     source: {type: transformerlens, path: "models/{seed}{decay}.pt", activation: gelu_tanh,
              decays: {"0": "", "0.1": "_wd"}, sha256: {"models/1.pt": "SHA"}}}
  hub:
    {layers: 2, heads: 4, d_model: 16,
     source: {type: huggingface, repo: "owner/{name}{decay}", revision: main, path: sub,
              names: {"1": one, "2": two}, decays: {"0": "", "0.1": "_wd"},
              sha256: {"owner/one/sub/config.json": "SHA"}}}
refits: 2
weight_decays: [0, 0.1]
training: {steps: 30, context: 64}
corpus: {type: data, repo: owner/data, revision: main, paths: ["data/*.parquet"], column: tokens,
  tokenised: true, held_out: 0.01}
tokenizer: {type: hub, repo: owner/tokenizer, revision: main, path: tokenizer.json, bos: "<s>"}
prompts: {passages: {type: held_out, count: 6, tokens: 20}}
caches: {keep: false}
""".replace("SHA", "0" * 64)
# Files the configs above name.
FILES = ("a.txt", "b.txt", "prompts.txt", "tokenizer.json", "data/100_prompts.pkl",
         "data/openwebtext.jsonl.gz",
         *(f"models/{seed}{decay}.pt" for seed in (1, 2) for decay in ("", "_wd")))  # fmt: skip


@cache
def configs() -> dict[str, dict]:
    """Every config that is mutated, by name: those shipped, and OTHER."""
    files = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files} | {
        "other": yaml.safe_load(OTHER),
        "foreign": yaml.safe_load(FOREIGN),
    }


@dataclass
class Case:
    """A mutated config.

    Attributes:
        kind: what was done.
        raw: the config.
        keys: the keys that were touched: one mistake is one key.
    """

    kind: str
    raw: Any = field(repr=False)
    keys: list[str] = field(default_factory=list)


def named(path: tuple) -> str:
    """A path as messages spell it."""
    return join(list(path))


def places(value: Any, path: tuple = ()):
    """The places of a config, as tuples of keys; of a long list only the first."""
    items = enumerate(value[:20]) if isinstance(value, list) else ()
    items = value.items() if isinstance(value, dict) else items
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(raw: Any, path: tuple) -> Any:
    for part in path:
        raw = raw[part]
    return raw


TRICKS = [
    "../x", "/etc/passwd", "/etc", "a/b", "nul\0", "x" * 300, "a/" * 3000, "größe", "日本", "a b",
    " a", "a ", ".", "..", "-", "--help", "~", "$HOME", "`id`", "$(id)", "a;b", "a\nb", "a\tb",
    "a{b}", "{", "*", "?", "a.txt/", "./a.txt", "a.txt\n", "//a.txt", "con", "", "a:b", "http://a/b",
    "s3://a/b", "\u2028", "\u202eabc", "\ud800", "%s", "{0}", "{seed.__class__}", "all", "figures",
    "null", "True", "1e400", "NaN", "<b>", "held_out", "passages", "seed1", "wd0",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 3, 7, 255, 256, 257, 2**16, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64,
    10**19, 10**30, 10**400, -(10**400), 0.0, -0.0, 0.5, 1.0, 1.5, 2.0, -0.5, 1e-5, 1e-300, 5e-324,
    1e16, 1e300, 1.7e308, float("nan"), float("inf"), float("-inf"), 0.1 + 0.2, 99.9, 100, 101,
]  # fmt: skip
ODD = [
    None, True, False, [], {}, [[]], [None], {"type": None}, {"type": []}, {"type": "file"},
    {"type": "held_out"}, {"type": "text"}, {"type": "bpe"}, datetime.date(2026, 1, 1), b"\0\xff",
    datetime.datetime(2026, 1, 1, 12), {1: 2}, {None: 1}, {True: 1}, {datetime.date(2026, 1, 1): 1},
    {(1, 2): 3}, [1, 1], [0.1, 0.1], ["a", "a"], [1, "1"], [0, 0.0], set(), {"a": {"b": {"c": 1}}},
    list(range(2000)), "x" * 10**5, {str(i): i for i in range(300)}, [[[[[[1]]]]]],
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TRICKS),
    st.sampled_from(ODD),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["type", "path", "a.txt"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "path", "count", "seed"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
).map(copy.deepcopy)


@st.composite
def wrong_value(draw, raw):
    path = draw(st.sampled_from(list(places(raw))))
    at(raw, path[:-1])[path[-1]] = draw(VALUES)
    return Case("value", raw, [named(path)])


@st.composite
def neighbour(draw, raw):
    """A number a little or a lot off, of the right type."""
    numbers = [p for p in places(raw) if isinstance(at(raw, p), int | float)]
    path = draw(st.sampled_from([p for p in numbers if not isinstance(at(raw, p), bool)]))
    old = at(raw, path)
    factor = draw(st.sampled_from([-1, 0, 0.5, 2, 10, 1000, 10**6, 10**12]))
    at(raw, path[:-1])[path[-1]] = type(old)(old * factor)
    return Case("neighbour", raw, [named(path)])


@st.composite
def quoted(draw, raw):
    """A number or truth value as text."""
    scalars = [p for p in places(raw) if isinstance(at(raw, p), int | float)]
    path = draw(st.sampled_from(scalars))
    at(raw, path[:-1])[path[-1]] = str(at(raw, path))
    return Case("quoted", raw, [named(path)])


@st.composite
def unknown_key(draw, raw):
    sections = [(), *(p for p in places(raw) if isinstance(at(raw, p), dict))]
    path = draw(st.sampled_from(sections))
    key = draw(st.sampled_from(["extra", "x", "seed", "type", "path", "", "a.b", "a\nb", "__x__"]))
    present = key in at(raw, path)
    at(raw, path)[key] = draw(VALUES)
    return Case("type" if present else "unknown key", raw, [named((*path, key))])


@st.composite
def misspelled_key(draw, raw):
    path = draw(st.sampled_from([p for p in places(raw) if isinstance(p[-1], str)]))
    key, section = path[-1], at(raw, path[:-1])
    place = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase + "_- "))
    slips = [
        key[:place] + key[place + 1 :],
        key[:place] + letter + key[place:],
        key[:place] + letter + key[place + 1 :],
        *(key.upper(), key.capitalize(), key + "s", key.replace("_", "-")),
    ]
    wrong = draw(st.sampled_from(slips))
    pairs = [(wrong if name == key else name, value) for name, value in section.items()]
    section.clear()
    section.update(pairs)
    return Case("misspelled", raw, [named((*path[:-1], wrong)), named(path)])


@st.composite
def deleted_key(draw, raw):
    path = draw(st.sampled_from(list(places(raw))))
    del at(raw, path[:-1])[path[-1]]
    return Case("deleted", raw, [named(path)])


@st.composite
def listed_twice(draw, raw):
    filled = [p for p in places(raw) if isinstance(at(raw, p), list) and at(raw, p)]
    path = draw(st.sampled_from(filled))
    values = at(raw, path)
    values.insert(draw(st.integers(0, len(values))), draw(st.sampled_from(values)))
    return Case("twice", raw, [named(path)])


@st.composite
def odd_name(draw, raw):
    """A name of the user's own choice that file systems or Snakemake may not like."""
    sections = [("architectures",), ("prompts",), ("perplexity", "texts")]
    sections = [p for p in sections if all(part in at(raw, p[:i]) for i, part in enumerate(p))]
    path = draw(st.sampled_from([p for p in sections if at(raw, p)]))
    section = at(raw, path)
    old = draw(st.sampled_from(list(section)))
    new = draw(st.sampled_from([*TRICKS, old.upper(), old.capitalize()]) | st.text(max_size=6))
    section[new] = copy.deepcopy(section[old])
    return Case("name", raw, [named((*path, new))])


@st.composite
def swapped(draw, raw):
    one, two = (draw(st.sampled_from(list(raw))) for _ in range(2))
    raw[one], raw[two] = raw[two], raw[one]
    return Case("swapped", raw, [one, two])


@st.composite
def several(draw, raw):
    """Many mistakes at once."""
    keys: list[str] = []
    for _ in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from([wrong_value, misspelled_key, deleted_key, unknown_key]))
        keys += draw(kind(raw)).keys
    return Case("several", raw, keys)


SINGLE = [
    wrong_value, wrong_value, neighbour, quoted, unknown_key, misspelled_key, deleted_key,
    listed_twice, odd_name,
]  # fmt: skip


@st.composite
def cases(draw, kinds):
    """A config with a mistake, or with what may be one."""
    raw = copy.deepcopy(draw(st.sampled_from(list(configs().values()))))
    try:
        return draw(draw(st.sampled_from(kinds))(raw))
    except (KeyError, IndexError, TypeError):  # a later mistake at a place an earlier one removed
        return Case("several", raw)
