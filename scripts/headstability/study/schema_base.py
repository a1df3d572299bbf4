"""What sections of the config are made of: names, numbers, patterns and their words."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

# Every pattern of the schema in words, for messages and for the page of all keys.
PATTERNS: dict[str, str] = {}


def text(pattern: str, words: str, **limits: int) -> Any:
    """The type of text that matches a pattern, which `words` describe."""
    PATTERNS[pattern] = words
    return Annotated[str, Field(pattern=pattern, **limits)]


def only(allowed: Callable[[Any], bool], words: str) -> AfterValidator:
    """Allows some values of a type, which `words` describe."""

    def check(value: Any) -> Any:
        if not allowed(value):
            raise PydanticCustomError("not_allowed", words)
        return value

    return AfterValidator(check)


# File systems allow 255 bytes, endings included.
Name = text(r"^[A-Za-z0-9_-]+$", "may hold only letters, digits, _ and -", max_length=100)
# Snakemake takes braces in the path of an input for wildcards; a path on two lines is a slip.
File = text(
    r"^[^{}\p{Cc}]*[^{}\p{Cc}/]$", "may not be empty, end in /, or hold line breaks, { or }"
)
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveInt = Annotated[int, Field(ge=1, le=10**15)]
Count = Annotated[int, Field(ge=1, le=10**6)]


def key(meaning: str, default: Any = ..., **limits: Any) -> Any:
    """What a key of the config means, its default (without one it is required) and its range."""
    return Field(default, description=meaning, **limits)


class Section(BaseModel):
    """A mapping of the config: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _list_values_once(cls, value: Any) -> Any:
        """Refuse a value that a list of the config holds twice."""
        seen = set()
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if item in seen:
                raise PydanticCustomError("repeated", "list every value once", {"index": index})
            seen.add(item)
        return value
