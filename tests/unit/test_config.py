"""Configs are checked as a whole: every problem with its key, its value and a remedy."""

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import ROOT, named, places

from headstability.errors import UserError
from headstability.study.check import check_config
from headstability.study.study import Study

SHIPPED = sorted([ROOT / "config.yaml", *(ROOT / "studies").glob("*.yaml")])
VALID = """
study: demo
architectures:
  small: {layers: 2, heads: 4, d_model: 16}
  large: {layers: 4, heads: 4, d_model: 32, mlp: false}
refits: 3
weight_decays: [0, 0.1]
training:
  steps: 40
  batch: 8
  context: 64
  learning_rate: 1.0e-3
  betas: [0.9, 0.99]
  checkpoint_steps: [0, 20]
corpus: {type: text, paths: [a.txt, b.txt], documents: file}
tokenizer: {type: bpe, vocabulary: 300}
prompts:
  passages: {type: held_out, count: 6, tokens: 20}
  mine: {type: file, path: prompts.txt}
stability: {prompts: passages}
ablation: {text: held_out, held_out_rows: 8}
figures: {palette: colorblind, colormap: viridis, dpi: 100}
"""
# Replaces a whole section instead of merging into it.
NEW = "new"


def valid():
    return yaml.safe_load(VALID)


def edited(text):
    """The valid config with the YAML in `text` merged into it."""

    def merge(into, edit):
        for key, value in edit.items():
            fresh = isinstance(value, dict) and value.pop(NEW, False)
            if isinstance(value, dict) and isinstance(into.get(key), dict) and not fresh:
                merge(into[key], value)
            else:
                into[key] = value

    raw = valid()
    merge(raw, yaml.safe_load(text))
    return raw


def problems(raw):
    """Lines of the message by key; fails if the config is accepted."""
    with pytest.raises(UserError) as caught:
        Study(raw)
    head, *lines = str(caught.value).split("\n")
    count = len(lines)
    assert head == f"the config has {count} problem{'s' if count > 1 else ''}:"
    assert all(line.startswith("  ") for line in lines)
    split = [line.strip().split(": ", 1) for line in lines]
    assert len({key for key, _ in split}) == count, "a key is reported twice"
    return dict(split)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_valid(path):
    study = Study(yaml.safe_load(path.read_text()))
    assert study.name == ("default" if path.name == "config.yaml" else path.stem)


def test_the_valid_config_of_these_tests_is_valid():
    assert check_config(valid()).training.betas == (0.9, 0.99)


def test_checking_leaves_the_config_alone():
    raw = valid()
    check_config(raw)
    assert raw == valid()


def test_keys_left_out_take_the_documented_defaults():
    raw = {
        "study": "least",
        "architectures": {"a": {"layers": 1, "heads": 1, "d_model": 4}},
        "training": {"steps": 1},
    }
    config = check_config(raw)
    assert config.refits == 4
    assert config.weight_decays == [0, 0.1]
    assert config.corpus.type == "sotu"
    assert config.tokenizer.vocabulary == 1024
    assert config.prompts["passages"].tokens == 50
    assert (config.stability.prompts, config.ablation.text) == ("passages", "passages")
    assert config.architectures["a"].mlp is True


# (edit in YAML, key the message starts with, what the message says)
WRONG = [
    # unknown keys, at every level
    ("promts: {}", "promts", ["'promts'", "at the top level", "did you mean 'prompts'?"]),
    ("zzz: 1", "zzz", ["'zzz'", "known keys: ablation, architectures"]),
    ("training: {lerning_rate: 1}", "training.lerning_rate", ["did you mean 'learning_rate'?"]),
    ("architectures: {small: {layer: 1}}", "architectures.small.layer", ["mean 'layers'?"]),
    ("corpus: {path: a}", "corpus.path", ["'path' in corpus", "did you mean 'paths'?"]),
    ("corpus: {type: sotu}", "corpus.paths", ["corpus of type sotu", "belongs to type text"]),
    ("tokenizer: {vocabluary: 3}", "tokenizer.vocabluary", ["did you mean 'vocabulary'?"]),
    ("prompts: {passages: {cuont: 3}}", "prompts.passages.cuont", ["did you mean 'count'?"]),
    ("prompts: {passages: {path: a}}", "prompts.passages.path", ["belongs to type file"]),
    ("stability: {prompt: passages}", "stability.prompt", ["did you mean 'prompts'?"]),
    ("ablation: {txt: passages}", "ablation.txt", ["did you mean 'text'?"]),
    ("figures: {pallete: x}", "figures.pallete", ["did you mean 'palette'?"]),
    ("refits: {init_seeds: [1], data_seeds: [1, 2], x: 1}", "refits.x", ["known keys: data_seeds"]),
    # keys that YAML does not read as text
    ("1: 2", "1", ["unknown key '1' at the top level"]),
    ("true: 2", "true", ["unknown key 'true' at the top level"]),
    ("null: 2", "null", ["unknown key 'null' at the top level"]),
    ("training: {1.5: 2}", "training.1.5", ["unknown key '1.5' in training"]),
    ("architectures: {7: {layers: 1, heads: 1, d_model: 4}}", "architectures.7", ["quotes: '7'"]),
    ("prompts: {true: {type: held_out, tokens: 9}}", "prompts.true", ["in quotes: 'true'"]),
    # wrong types
    ("training: {steps: 4.0}", "training.steps", ["4.0", "give a whole number"]),
    ("training: {batch: true}", "training.batch", ["true", "give a whole number"]),
    ("training: {learning_rate: true}", "training.learning_rate", ["true", "give a number"]),
    ("training: {clip: false}", "training.clip", ["false", "give a number"]),
    ("training: {batch: '8'}", "training.batch", ["'8'", "text: write 8 without quotes"]),
    ("training: {batch: many}", "training.batch", ["'many'", "give a whole number"]),
    ("training: {learning_rate: '0.1'}", "training.learning_rate", ["write 0.1 without quotes"]),
    ("training: {learning_rate: 1e-3}", "training.learning_rate", ["1e-3", "write 1.0e-3"]),
    ("training: {learning_rate: 2.5e0}", "training.learning_rate", ["2.5e0", "write 2.5e+0"]),
    ("training: {steps: 1e3}", "training.steps", ["YAML reads 1e3 as text; write 1000"]),
    ("weight_decays: [0, 1e-5]", "weight_decays[2]", ["1e-5", "write 1.0e-5"]),
    ("weight_decays: [0, true]", "weight_decays[2]", ["true", "give a number"]),
    ("weight_decays: 0.1", "weight_decays", ["0.1", "give a list"]),
    ("architectures: {small: {mlp: 1}}", "architectures.small.mlp", ["1", "true or false"]),
    ("architectures: {small: {mlp: 'no'}}", "architectures.small.mlp", ["'no'", "true or false"]),
    ("study: 3", "study", ["3", "give text, in quotes"]),
    ("corpus: {paths: a.txt}", "corpus.paths", ["'a.txt'", "give a list"]),
    ("corpus: {paths: [a.txt, 3]}", "corpus.paths[2]", ["3", "give text"]),
    ("training: {checkpoint_steps: 0}", "training.checkpoint_steps", ["0", "give a list"]),
    ("training: {checkpoint_steps: [0, true]}", "training.checkpoint_steps[2]", ["true"]),
    ("training: {betas: 0.9}", "training.betas", ["0.9", "give a list of two numbers"]),
    # sections that are null, lists or text
    ("training: null", "training", ["null", "give a mapping"]),
    ("training: [steps]", "training", ["['steps']", "give a mapping"]),
    ("architectures: text", "architectures", ["'text'", "give a mapping"]),
    ("architectures: {small: null}", "architectures.small", ["null", "give a mapping"]),
    ("corpus: null", "corpus", ["null", "mapping with a key 'type'", "sotu, text"]),
    ("tokenizer: bpe", "tokenizer", ["'bpe'", "mapping with a key 'type'", "bpe, file"]),
    ("prompts: [passages]", "prompts", ["['passages']", "give a mapping"]),
    ("prompts: {mine: prompts.txt}", "prompts.mine", ["'prompts.txt'", "held_out, file"]),
    ("stability: 3", "stability", ["3", "give a mapping"]),
    ("ablation: null", "ablation", ["null", "give a mapping"]),
    # out of range
    ("training: {learning_rate: 0}", "training.learning_rate", ["0", "greater than 0"]),
    ("training: {learning_rate: .nan}", "training.learning_rate", ["nan", "finite number"]),
    ("training: {betas: [0.9, 1]}", "training.betas[2]", ["1", "at least 0 and less than 1"]),
    ("training: {betas: [0.9]}", "training.betas[2]", ["missing"]),
    ("training: {precision: tf16}", "training.precision", ["'tf16'", "'tf32' or 'bfloat16'"]),
    ("training: {compile: true}", "training.compile", ["true", "'default' or 'cudagraphs'"]),
    ("training: {microbatch: 0}", "training.microbatch", ["0", "at least 1"]),
    ("training: {context: 1}", "training.context", ["1", "at least 2"]),
    ("training: {schedule: Cosine}", "training.schedule", ["'Cosine'", "'linear' or 'cosine'"]),
    ("weight_decays: [0, -0.5]", "weight_decays[2]", ["-0.5", "at least 0"]),
    ("weight_decays: [.inf]", "weight_decays[1]", ["inf", "finite number"]),
    ("weight_decays: [101]", "weight_decays[1]", ["101", "at most 100"]),
    ("architectures: {small: {layers: 0}}", "architectures.small.layers", ["0", "at least 1"]),
    ("corpus: {held_out: 1}", "corpus.held_out", ["1", "less than 1"]),
    ("tokenizer: {vocabulary: 256}", "tokenizer.vocabulary", ["256", "at least 257"]),
    ("figures: {dpi: 10}", "figures.dpi", ["10", "at least 50"]),
    ("figures: {palette: colourblind}", "figures.palette", ["did you mean 'colorblind'?"]),
    ("figures: {colormap: virids}", "figures.colormap", ["did you mean 'viridis'?"]),
    ("figures: {include: [pairwse]}", "figures.include[1]", ["did you mean 'pairwise'?"]),
    ("figures: {include: [pairwise, pairwise]}", "figures.include", ["listed twice"]),
    # between keys
    ("architectures: {small: {heads: 3}}", "architectures.small.heads", ["3", "divisor of 16"]),
    (
        "training: {context: 20}",
        "prompts.passages.tokens",
        ["20 tokens", "context = 20", "most 19"],
    ),
    (
        "{training: {context: 32}, prompts: {passages: {new: 1, type: held_out}}}",
        "prompts.passages.tokens",
        ["50 tokens", "training.context = 32", "at most 31"],
    ),
    ("training: {tokens: 5120}", "training.steps", ["both are given", "training.tokens"]),
    ("training: {steps: null}", "training.steps", ["neither is given", "training.tokens"]),
    ("training: {steps: null, tokens: 9}", "training.tokens", ["9", "batch x context = 512"]),
    ("training: {warmup_steps: 41}", "training.warmup_steps", ["41", "40 steps"]),
    ("training: {checkpoint_steps: [0, 41]}", "training.checkpoint_steps[2]", ["41", "step, 40"]),
    ("training: {checkpoint_steps: [9, 9]}", "training.checkpoint_steps", ["9 is listed twice"]),
    ("weight_decays: [0, 0.1, 0.0]", "weight_decays", ["0.0 is listed twice"]),
    ("corpus: {paths: [a.txt, a.txt]}", "corpus.paths", ["'a.txt' is listed twice"]),
    ("stability: {prompts: pasages}", "stability.prompts", ["'pasages'", "mean 'passages'?"]),
    ("ablation: {text: heldout}", "ablation.text", ["'heldout'", "mean 'held_out'?"]),
    ("stability: {prompts: held_out}", "stability.prompts", ["not a prompt set", "passages, mine"]),
    ("prompts: {held_out: {type: held_out, tokens: 9}}", "prompts.held_out", ["reserved"]),
    # refits
    ("refits: 1", "refits", ["1", "at least 2"]),
    ("refits: [5]", "refits", ["[5]", "at least 2"]),
    ("refits: true", "refits", ["true", "give a count (at least 2), a list of seeds"]),
    ("refits: null", "refits", ["null", "give a count"]),
    ("refits: '4'", "refits", ["'4'", "give a count"]),
    ("refits: [1, 2, 1]", "refits", ["1 is listed twice"]),
    ("refits: [1, -2]", "refits[2]", ["-2", "at least 0"]),
    ("refits: [1, 2.5]", "refits[2]", ["2.5", "give a whole number"]),
    ("refits: {init_seeds: [1], data_seeds: [2]}", "refits", ["one refit", "at least 2"]),
    ("refits: {init_seeds: [1, 2]}", "refits.data_seeds", ["missing", "order of training rows"]),
    ("refits: {init_seeds: [1, 1], data_seeds: [2]}", "refits.init_seeds", ["1 is listed twice"]),
    ("refits: {init_seeds: [1, x], data_seeds: [2]}", "refits.init_seeds[2]", ["'x'"]),
    # empty lists and mappings
    ("refits: []", "refits", ["[]", "at least 2"]),
    ("weight_decays: []", "weight_decays", ["[]", "at least 1"]),
    ("corpus: {paths: []}", "corpus.paths", ["[]", "at least 1"]),
    ("architectures: {new: 1}", "architectures", ["{}", "at least 1"]),
    ("prompts: {new: 1}", "prompts", ["{}", "at least 1"]),
    # names
    ("study: ../x", "study", ["'../x'", "only letters, digits, _ and -"]),
    ("study: a b", "study", ["'a b'", "only letters, digits, _ and -"]),
    ("study: ''", "study", ["''", "only letters, digits, _ and -"]),
    ('study: "x\\n"', "study", ["only letters, digits, _ and -"]),
    (f"study: {'x' * 101}", "study", ["at most 100 characters"]),
    (
        "architectures: {../x: {layers: 1, heads: 1, d_model: 4}}",
        "architectures.../x",
        ["'../x'", "only letters, digits, _ and -", "names a folder"],
    ),
    ("prompts: {a b: {type: held_out, tokens: 9}}", "prompts.a b", ["'a b'", "only letters"]),
    # type, and what belongs to one
    ("corpus: {type: sotuu}", "corpus.type", ["'sotuu'", "sotu, text", "did you mean 'sotu'?"]),
    ("corpus: {type: [a]}", "corpus.type", ["['a']", "sotu, text"]),
    ("corpus: {new: 1, seed: 3}", "corpus.type", ["missing", "sotu, text"]),
    ("tokenizer: {type: wordpiece}", "tokenizer.type", ["'wordpiece'", "bpe, file, hub"]),
    ("prompts: {mine: {type: null}}", "prompts.mine.type", ["null", "held_out, file"]),
    ("prompts: {mine: {path: a.csv}}", "prompts.mine.path", ["'a.csv'", ".txt, .json or .pkl"]),
    ("tokenizer: {new: 1, type: file}", "tokenizer.path", ["missing", "tokenizer.json"]),
    ("tokenizer: {new: 1, type: file, path: ''}", "tokenizer.path", ["''", "not be empty"]),
    ("corpus: {paths: ['{a}.txt']}", "corpus.paths[1]", ["'{a}.txt'", "{ or }"]),
    ("prompts: {file: {type: file, file: 1, path: a.txt}}", "prompts.file.file", ["known keys"]),
]


@pytest.mark.parametrize(("edit", "key", "words"), WRONG, ids=[item[0][:60] for item in WRONG])
def test_wrong_configs_are_named(edit, key, words):
    found = problems(edited(edit))
    assert key in found
    missing = [word for word in words if word not in found[key]]
    assert not missing, found[key]


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_config_that_is_no_mapping(raw):
    with pytest.raises(UserError, match="not a mapping"):
        check_config(raw)


def test_missing_sections_say_what_they_are():
    found = problems({})
    assert set(found) == {"study", "architectures", "training"}
    assert "transformers to train, by name" in found["architectures"]


def test_one_wrong_value_is_one_problem():
    """Nothing is reported as a consequence of a mistake that is reported already."""
    for edit in (
        "prompts: {new: 1}",
        "refits: [1, true]",
        "training: {steps: null, tokens: 900, batch: -1}",
        "training: {context: x}",
        "architectures: {small: {heads: three}}",
        "training: {1: 2}",
    ):
        assert len(problems(edited(edit))) == 1, edit


def test_all_problems_of_the_schema_are_reported_at_once():
    raw = edited("""
promts: {}
study: a b
architectures:
  {small: {heads: 3}, large: {layers: '4', mlp: 0}, x/y: {layers: 1, heads: 1, d_model: 4}}
refits: [1, 1]
weight_decays: [0, 0.1, -1]
training: {steps: 40, tokens: 9000, batch: 1.5, checkpoint_steps: [9, 9], betas: [0.9, 1]}
corpus: {type: text, paths: [], held_out: 2}
prompts: {held_out: {type: held_out, tokens: 90}, mine: {type: flie}}
stability: {prompts: other}
figures: {dpi: x}
""")
    assert set(problems(raw)) == {
        "promts",
        "study",
        "architectures.large.layers",
        "architectures.large.mlp",
        "architectures.x/y",
        "refits",
        "weight_decays[3]",
        "training.batch",
        "training.checkpoint_steps",
        "training.betas[2]",
        "corpus.paths",
        "corpus.held_out",
        "prompts.mine.type",
        "figures.dpi",
    }


def test_all_problems_between_keys_are_reported_at_once():
    raw = edited("""
architectures: {small: {heads: 3}, Small: {layers: 1, heads: 1, d_model: 4}}
training: {steps: 40, tokens: 9000, checkpoint_steps: [99], warmup_steps: 50}
corpus: {new: 1, type: data, paths: [a.txt], revision: main, tokenised: true}
prompts: {held_out: {type: held_out, tokens: 90}}
stability: {prompts: other}
ablation: {text: another}
perplexity: {texts: {held_out: a.txt}}
figures: {include: [pairwse], palette: colourblind, colormap: virids}
meta_sne: {perplexity: 1000}
time_course: {steps: [99, 7]}
roles: {tokens: 90}
""")
    assert set(problems(raw)) == {
        "architectures.small.heads",
        "architectures.Small",
        "training.steps",
        "training.warmup_steps",
        "training.checkpoint_steps[1]",
        "corpus.revision",
        "tokenizer.type",
        "prompts.held_out",
        "prompts.held_out.tokens",
        "stability.prompts",
        "ablation.text",
        "perplexity.texts.held_out",
        "figures.include[1]",
        "figures.palette",
        "figures.colormap",
        "meta_sne.perplexity",
        "time_course.steps[2]",
        "roles.tokens",
    }


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "1e-3", "0.1", "text", "sotu", "held_out", "a{b}", "x\ny", "\u2028"]),
    st.text(max_size=8),
)
KEYS = st.one_of(st.sampled_from(["type", "path", "count", "file"]), st.text(max_size=5))
ANY_KEYS = st.one_of(KEYS, st.integers(0, 3), st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(list(places(valid()))), VALUES)
def test_any_value_anywhere_is_accepted_or_explained(path, value):
    raw = valid()
    section = raw
    for part in path[:-1]:
        section = section[part]
    section[path[-1]] = copy.deepcopy(value)
    try:
        check_config(raw)
    except UserError as error:
        message = str(error)
        for word in ("union_tag", "type=", "pydantic", "Input should", "tagged-union"):
            assert word not in message
        # What an accepted value makes wrong elsewhere is named there.
        parents = [named(path[:end]) for end in (len(path), len(path) - 1) if end]
        beyond = {"prompts": "stability.prompts", "training.context": "prompts.passages.tokens"}
        beyond["training.steps"] = "training.checkpoint_steps"
        beyond["training.tokens"] = "training.steps"
        expected = [*parents, *(beyond[name] for name in parents if name in beyond)]
        assert any(f"\n  {name}" in message for name in expected), message
    else:
        study = Study(raw)
        assert len(study.cells()) == len(study.conditions()) * len(study.refits) > 1


@pytest.mark.parametrize("look", ["palette: Set2", "palette: husl", "colormap: rocket"])
def test_every_look_the_libraries_know_is_allowed(look):
    check_config(edited(f"figures: {{{look}}}"))
