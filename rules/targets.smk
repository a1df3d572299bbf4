# What can be asked for by name, and what to say of anything else.


# Small, and what everything else rests on: asked for by `all`, so that what a killed run took
# away comes back even where no table below it has to be made again.
rule measurements:
    input:
        measurements,
    localrule: True


# A table beside every figure, of the same name; heads.csv holds every head of every refit.
rule tables:
    input:
        study.table_paths(),
    localrule: True


rule figures:
    input:
        study.figure_paths(),
    localrule: True


# What no rule makes: say what there is.
rule unknown_output:
    input:
        explain_unknown_output,
    output:
        study.unknown_output_pattern,
    localrule: True


rule unknown_target:
    input:
        explain_unknown_output,
    output:
        study.unknown_target_pattern,
    localrule: True
