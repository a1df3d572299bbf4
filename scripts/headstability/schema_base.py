"""What sections of the config are made of: names, numbers, patterns and their words."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9_-]+$"
# Snakemake takes braces in the path of an input for wildcards; a path on two lines is a slip.
FILE_PATTERN = r"^[^{}\p{Cc}]*[^{}\p{Cc}/]$"
DATA_PATTERN = r"^[^{}\p{Cc}]+(\.(txt|jsonl)(\.(gz|bz2|xz|zst))?|\.parquet)$"
PROMPTS_PATTERN = r"^[^{}\p{Cc}]*\.(txt|json|pkl)$"
PROMPTS_URL_PATTERN = r"^https?://[^{}\s\p{Cc}/]+/[^{}\s\p{Cc}]*\.(txt|json|pkl)$"
# Places of weights elsewhere, in which names in braces stand for parts of the cell's name.
PLACE_PATTERN = r"^[^/\s\p{Cc}][^\s\p{Cc}]*$"
REPOSITORY_PATTERN = r"^[^/\s\p{Cc}]+/[^/\s\p{Cc}]+$"
SHA256_PATTERN = r"^[0-9a-fA-F]{64}$"
# Every pattern in words, for messages.
PATTERNS = {
    NAME_PATTERN: "may hold only letters, digits, _ and -",
    FILE_PATTERN: "may not be empty, end in /, or hold line breaks, { or }",
    DATA_PATTERN: (
        "must end in .txt or .jsonl (or .gz, .bz2, .xz, .zst behind that) or in .parquet, and may "
        "not hold line breaks, { or }"
    ),
    PLACE_PATTERN: "must be relative and may not be empty or hold spaces",
    REPOSITORY_PATTERN: "must be owner/name",
    SHA256_PATTERN: "must be 64 hexadecimal digits",
    PROMPTS_URL_PATTERN: (
        "must be an address, https://..., of a file that ends in .txt, .json or .pkl, and may not "
        "hold spaces, { or }"
    ),
    PROMPTS_PATTERN: "must end in .txt, .json or .pkl and may not hold line breaks, { or }",
}

# File systems allow 255 bytes; a name is followed by endings.
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
File = Annotated[str, Field(pattern=FILE_PATTERN)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveInt = Annotated[int, Field(ge=1, le=10**15)]
# Of what is held in memory, or drawn one after the other.
Count = Annotated[int, Field(ge=1, le=10**6)]


class Section(BaseModel):
    """A mapping of the config: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
