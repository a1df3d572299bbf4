"""Where every file of a study lies: patterns with Snakemake's wildcards, which `fill` fills in."""

from decimal import Decimal

RESULTS = "results"


def format_weight_decay(value: float) -> str:
    """The one spelling of a weight decay in paths and tables: 0, 0.1, 0.00001."""
    text = format(Decimal(repr(float(value) + 0.0)), "f")  # + 0.0: there is no wd-0
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def fill(pattern: str, **wildcards: object) -> str:
    """Replace the wildcards of a pattern; `weight_decay` is formatted if it is a number."""
    decay = wildcards.get("weight_decay")
    if isinstance(decay, int | float):
        wildcards["weight_decay"] = format_weight_decay(decay)
    return pattern.format(**wildcards)


class Paths:
    """Path patterns of one study, relative to the repository."""

    def __init__(self, study: str) -> None:
        self.root = f"{RESULTS}/{study}"
        self.condition_name = condition = "{architecture}/wd{weight_decay}"
        self.cell_name = cell = f"{condition}/{{refit}}"
        at_step = f"{self.root}/conditions/{condition}/step{{step}}"

        self.documents = f"{self.root}/corpus/documents.jsonl"
        self.tokenizer = f"{self.root}/corpus/tokenizer.json"
        self.tokens = f"{self.root}/corpus/tokens.json"
        self.train_tokens = f"{self.root}/corpus/train.bin"
        self.held_out_tokens = f"{self.root}/corpus/held_out.bin"
        self.prompts = f"{self.root}/corpus/prompts/{{prompts}}.json"

        cell_folder = f"{self.root}/cells/{cell}"
        self.checkpoint = f"{cell_folder}/checkpoints/step{{step}}.safetensors"
        self.training = f"{cell_folder}/training.csv"
        self.provenance = f"{cell_folder}/provenance.json"
        self.download = f"{cell_folder}/download.json"
        self.cache = f"{cell_folder}/caches/step{{step}}/{{prompts}}.zarr.zip"

        self.refits = f"{self.root}/conditions/{condition}/refits.csv"
        self.similarity = f"{at_step}/stability/{{prompts}}/similarity.zarr.zip"
        self.stability_heads = f"{at_step}/stability/{{prompts}}/heads.csv"
        self.stability_pairs = f"{at_step}/stability/{{prompts}}/pairs.csv"
        self.stability_matches = f"{at_step}/stability/{{prompts}}/matches.csv"
        self.stability_cross_layer = f"{at_step}/stability/{{prompts}}/cross_layer.csv"
        self.stability_commonness = f"{at_step}/stability/{{prompts}}/commonness.csv"
        self.ablation = f"{at_step}/ablation/{{text}}/{{refit}}.csv"
        self.perplexity = f"{at_step}/perplexity/{{refit}}.csv"
        self.prompt_length = f"{at_step}/prompt_length/{{prompts}}.csv"

        self.residual = f"{at_step}/residual/{{prompts}}.csv"
        self.norms_streams = f"{at_step}/norms/{{prompts}}/streams.csv"
        self.norms_weights = f"{at_step}/norms/{{prompts}}/weights.csv"

        self.role_scores = f"{at_step}/roles/{{prompts}}/scores/{{refit}}.csv"
        self.role_heads = f"{at_step}/roles/{{prompts}}/heads.csv"
        self.role_stability = f"{at_step}/roles/{{prompts}}/stability.csv"
        self.measures = f"{at_step}/adjusted/{{prompts}}/measures.zarr.zip"
        self.shared = f"{at_step}/adjusted/{{prompts}}/shared.csv"
        self.identity = f"{at_step}/adjusted/{{prompts}}/identity.csv"
        twins = f"{self.root}/conditions/{{architecture}}/twins/step{{step}}/{{prompts}}"
        self.twin_similarities, self.twins = f"{twins}.zarr.zip", f"{twins}.csv"
        self.adjusted_pairs = f"{at_step}/adjusted/{{prompts}}/pairs.csv"
        self.adjusted_without_prompts = f"{at_step}/adjusted/{{prompts}}/without_prompts.csv"
        self.adjusted_matches = f"{at_step}/adjusted/{{prompts}}/matches.csv"
        self.adjusted_heads = f"{at_step}/adjusted/{{prompts}}/heads.csv"
        self.claims_report = f"{self.root}/claims.md"
        self.published_extremes = "docs/published/layers.csv"
        self.published_layers = "docs/published/l8_h8.csv"

        exports = f"{self.root}/exports"
        self.transformerlens_state = f"{exports}/transformerlens/{cell}/step{{step}}/final.pt"
        self.transformerlens_config = f"{exports}/transformerlens/{cell}/step{{step}}/config.json"
        self.huggingface_config = f"{exports}/huggingface/{cell}/step{{step}}/config.json"
        self.huggingface_weights = f"{exports}/huggingface/{cell}/step{{step}}/model.safetensors"
        # The name transformers looks for: config.json names it.
        modelling = "modeling_headstability.py"
        self.huggingface_modelling = f"{exports}/huggingface/{cell}/step{{step}}/{modelling}"

        self.table = f"{self.root}/tables/{{table}}.csv"
        self.figure = f"{self.root}/figures/{{figure}}"
        self.log = f"{self.root}/logs/{{job}}.log"
        self.benchmark = f"{self.root}/benchmarks/{{job}}.tsv"

    @property
    def config(self) -> str:
        """The record of the config of the last run."""
        return f"{self.root}/config.yaml"

    def table_of(self, name: str) -> str:
        """The table (pattern) a figure draws; `name` may hold wildcards."""
        return self.table.replace("{table}", name)

    def figure_files(self, name: str) -> dict[str, str]:
        """The files (patterns) of a figure by format; `name` may hold wildcards."""
        stem = self.figure.replace("{figure}", name)
        return {kind: f"{stem}.{kind}" for kind in ("pdf", "png")}

    def log_of(self, job: str) -> str:
        """The log (pattern) of a job; `job` may hold wildcards."""
        return self.log.replace("{job}", job)

    def benchmark_of(self, job: str) -> str:
        """The benchmark (pattern) of a job; `job` may hold wildcards."""
        return self.benchmark.replace("{job}", job)
