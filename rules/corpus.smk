# From text to token files and prompts.


rule corpus:
    message:
        "Reading the corpus and splitting it by document"
    input:
        files=study.corpus_files(),
    output:
        documents=paths.documents,
    params:
        spec=spec("corpus.py", study.corpus_spec),
    log:
        paths.log_of("corpus"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    script:
        "../scripts/corpus.py"


rule tokenizer:
    message:
        "Making the tokenizer"
    input:
        documents=paths.documents,
        saved=study.tokenizer_files(),
    output:
        tokenizer=paths.tokenizer,
    params:
        spec=spec("tokenizer.py", study.tokenizer_spec),
    log:
        paths.log_of("tokenizer"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../scripts/tokenizer.py"


rule tokens:
    message:
        "Tokenising the corpus"
    input:
        documents=paths.documents,
        tokenizer=paths.tokenizer,
    output:
        train=paths.train_tokens,
        held_out=paths.held_out_tokens,
        manifest=paths.tokens,
    params:
        spec=spec("tokens.py", study.tokens_spec),
    log:
        paths.log_of("tokens"),
    benchmark:
        paths.benchmark_of("tokens")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    script:
        "../scripts/tokens.py"


rule prompts:
    message:
        "Making the prompt set {wildcards.prompts}"
    input:
        held_out=configured(paths.held_out_tokens),
        manifest=paths.tokens,
        tokenizer=paths.tokenizer,
        file=study.prompt_files,
    output:
        prompts=paths.prompts,
    params:
        spec=spec("prompts.py", study.prompts_spec),
    log:
        paths.log_of("prompts/{prompts}"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    script:
        "../scripts/prompts.py"
