"""Rows of figures that answer a question about refits: why, how much, when, how many."""

from .row import (
    COLORMAP,
    INTERVAL,
    PALETTE,
    QUESTIONS,
    TWINS,
    C,
    Input,
    Row,
    cells,
    conditions,
    keys,
    unless,
)

QUESTION_ROWS = (
    Row(
        "origin",
        "Where instability comes from",
        QUESTIONS,
        "tables.questions:origin_table",
        {"pairs": conditions("stability_pairs")},
        f"{C} layer quantity source {INTERVAL} pairs init_seeds data_seeds",
        uses=keys("seeds"),
        draw="plots.questions:origin",
        look=PALETTE,
        requires=unless(
            lambda study: (
                study.crossed
                and len(study.config.refits.init_seeds) > 1
                and len(study.config.refits.data_seeds) > 1
            ),
            "refits that share one of their two seeds: set refits to {init_seeds: [1, 2, 3], "
            "data_seeds: [1, 2, 3]} (two seeds of each kind at least)",
        ),
        only="with crossed seeds",
    ),
    Row(
        "dose",
        "Dose response",
        QUESTIONS,
        "tables.questions:dose_table",
        {
            "stability": conditions("stability_pairs"),
            "shared": conditions("shared"),
            "twins": TWINS,
            "refits": conditions("refits"),
        },
        f"{C} dose measure layer {INTERVAL} refits",
        uses=keys("seeds training.learning_rate steps"),
        draw="plots.questions:dose",
        look=COLORMAP,
        requires=unless(
            lambda study: len(study.weight_decays) > 1,
            "several weight decays: list them in weight_decays",
        ),
        only="with several weight decays",
    ),
    Row(
        "time_course",
        "Time course",
        QUESTIONS,
        "tables.time_course:time_course_table",
        {
            "stability": conditions("stability_pairs", step="time_steps"),
            "shared": conditions("shared", step="time_steps"),
            "twins": Input(
                "twins",
                ("architecture", "step"),
                {"architecture": "twin_architectures", "step": "time_steps"},
            ),
            "ablations": cells("ablation", step="time_steps"),
        },
        f"{C} step tokens measure layer {INTERVAL} refits",
        uses=keys("seeds tokens_per_step"),
        draw="plots.questions:time_course",
        look=PALETTE,
        requires=unless(
            lambda study: bool(study.time_steps),
            "weights of several steps: list at least two in time_course.steps and in "
            "training.checkpoint_steps",
        ),
        only="with `time_course.steps`",
    ),
    Row(
        "refits_needed",
        "How many refits are needed",
        QUESTIONS,
        "tables.questions:refits_needed_table",
        {"pairs": conditions("stability_pairs")},
        f"{C} layer source refits width width_low width_high wanted needed measured reason draws "
        "seed",
        uses=keys(
            "refits_needed.width refits_needed.draws refits_needed.seed", refits="refit_names"
        ),
        draw="plots.questions:refits_needed",
        look=COLORMAP,
        requires=unless(
            lambda study: not study.crossed,
            "refits that are independent of each other: give refits as a count or a list of seeds",
        ),
        only="without crossed seeds",
    ),
)
