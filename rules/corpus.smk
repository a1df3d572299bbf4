# From text to token files and prompts.


rule corpus:
    input:
        files=study.corpus_files(),
    output:
        documents=paths.documents,
    log:
        paths.log_of("corpus"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("corpus"),
        runtime=minutes("corpus"),
    params:
        spec=uses("corpus", "corpus_content"),
    message:
        "Reading the corpus and splitting it by document"
    script:
        "../scripts/corpus/corpus.py"


rule tokenizer:
    input:
        documents=paths.documents,
        saved=study.tokenizer_files(),
    output:
        tokenizer=paths.tokenizer,
    log:
        paths.log_of("tokenizer"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("tokenizer"),
        runtime=minutes("tokenizer"),
    params:
        spec=uses("tokenizer", "tokenizer_content"),
    message:
        "Making the tokenizer"
    script:
        "../scripts/corpus/tokenizer.py"


rule tokens:
    input:
        documents=paths.documents,
        tokenizer=paths.tokenizer,
    output:
        train=paths.train_tokens,
        held_out=paths.held_out_tokens,
        manifest=paths.tokens,
    log:
        paths.log_of("tokens"),
    benchmark:
        paths.benchmark_of("tokens")
    conda:
        "../envs/compute.yaml"
    # At most: Snakemake gives as many as there are.
    threads: lambda wildcards: needs.tokenising_threads()
    resources:
        mem_mb=memory("tokens"),
        runtime=minutes("tokens"),
        save_seconds=20,
    params:
        spec=uses("bos"),
    message:
        "Tokenising the corpus"
    script:
        "../scripts/corpus/tokens.py"


rule prompts:
    input:
        held_out=configured(paths.held_out_tokens),
        manifest=paths.tokens,
        tokenizer=paths.tokenizer,
        file=study.prompt_files,
    output:
        prompts=paths.prompts,
    log:
        paths.log_of("prompts/{prompts}"),
    # Where the network is, which prompts may come from.
    localrule: True
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=uses("prompts.{prompts}", "prompts_content", "prompts_context", "bos"),
    message:
        "Making the prompt set {wildcards.prompts}"
    script:
        "../scripts/corpus/prompts.py"
