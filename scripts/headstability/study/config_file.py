"""Reading the file of a config, whatever its keys mean, and how messages spell what it holds."""

import datetime
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError

# Deeper than any config, and far from what a parser that calls itself can take.
DEEPEST = 20
# Values a config may hold once its aliases are written out: a few lines can stand for billions.
LARGEST = 1_000_000
_KINDS = {"int": "whole number", "float": "number", "bool": "truth value", "timestamp": "date"}


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a config as Snakemake does: YAML, or JSON.

    A UserError says where it is neither, gives a key twice, refers to itself or is no mapping.
    """
    try:
        content = _parse(Path(path).read_bytes().decode())
        if isinstance(content, dict):
            return content
        asked = "it must be a mapping of keys to values, such as config.yaml"
        why = f" holds {short(content)}; {asked}"
    except OSError as error:
        why = f" cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        why = f" is not UTF-8 (byte {error.start} is {byte:#04x}); save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        advice = "indent with spaces, and put text that holds : # or begins with a sign in quotes"
        why = f"{where} is not YAML: {error.problem or error.context}; {advice}"
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        why = f" is not YAML: {error}"
    except RecursionError:
        why = " is nested too deeply; a config has three levels"
    except _Wrong as error:
        why = f" has 1 problem:\n  {error}"
    raise UserError(f"the config {path}{why}")


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


class _Wrong(Exception):
    """A problem of one key."""

    def __init__(self, path: list, text: str) -> None:
        super().__init__(f"{join(path)}: {text}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except ValueError:
        root = yaml.compose(text, yaml.SafeLoader)
    if root is not None:
        _Nodes().check(root, [], ())
    return yaml.safe_load(text)


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, whose keys may not stand twice."""
    content: dict[str, Any] = {}
    for key, value in items:
        if key in content:
            raise _Wrong([key], "stands twice in one mapping; keep one of them")
        content[key] = value
    return content


class _Nodes:
    """What a YAML file says before it is made into values, which hides some of it."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.constructor = yaml.constructor.SafeConstructor()

    def check(self, node: yaml.Node, path: list, above: tuple[int, ...]) -> int:
        """Values in a node, aliases written out; each node is looked at once."""
        if id(node) in above:
            raise _Wrong(path, "this alias stands inside of what it repeats; write the value out")
        if len(above) > DEEPEST:
            raise _Wrong(path, f"nested more than {DEEPEST} levels deep; a config has three")
        if id(node) not in self.sizes:
            inside = self._inside(node, path, (*above, id(node)))
            self.sizes[id(node)] = 1 + inside
            if inside > LARGEST:
                raise _Wrong(path, f"aliases repeat it to over {LARGEST} values; write less")
        return self.sizes[id(node)]

    def _inside(self, node: yaml.Node, path: list, above: tuple[int, ...]) -> int:
        if isinstance(node, yaml.SequenceNode):
            return sum(self.check(value, [*path, i], above) for i, value in enumerate(node.value))
        if isinstance(node, yaml.MappingNode):
            return sum(self.check(*item, above) for item in self._items(node, path))
        try:
            self.constructor.construct_object(node)
        # What pyyaml lets through of a date that is none, an integer that is none, ...
        except (ValueError, AttributeError, KeyError, IndexError, OverflowError):
            kind = _KINDS.get(node.tag.rsplit(":", 1)[-1], "value of its tag")
            text = f"{short(node.value)} would be a {kind} and is none; write text in quotes"
            raise _Wrong(path, f"{text} (line {node.start_mark.line + 1})") from None
        return 0

    @staticmethod
    def _items(node: yaml.MappingNode, path: list) -> Iterator[tuple[yaml.Node, list]]:
        """Values of a mapping with their paths."""
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else short(key.value)
            line = key.start_mark.line + 1
            if name in lines and key.tag != "tag:yaml.org,2002:merge":
                text = f"stands twice, in lines {lines[name]} and {line}, and YAML takes the last"
                raise _Wrong([*path, name], f"{text}; keep one of them")
            lines[name] = line
            yield value, [*path, name]
