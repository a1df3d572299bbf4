# What the rules of a row of the registry read, make and use.


def row_input(row, how):
    """An input of a row's tables: the files of a pattern, or a table of the registry."""
    if how.table:
        return paths.table_of(TABLES[how.source])
    pattern = getattr(paths, how.source)

    @asked_often
    def files(wildcards):
        require(wildcards, figure=row.draw and row.name)
        given = dict(wildcards.items())
        at = {name: value_of(study, key, given) for name, key in how.at.items()}
        return study.every(pattern, **{**study.measured, **given, **at})

    return files


def table_inputs(row):
    """What the tables of a row are computed from, and what must be there unread."""
    waited = {
        f"unread_{name}": of_refits(getattr(paths, name)) for name in row.waits_for
    }
    return {name: row_input(row, how) for name, how in row.inputs.items()} | waited


def caption(name):
    """What stands beside a result in the report."""
    return str(SCRIPTS.parent / "docs/captions" / f"{name}.rst")


def table_outputs(row):
    """The tables of a row, each with its caption and place in the report."""
    return {
        name: report(
            getattr(paths, name) if columns is None else paths.table_of(TABLES[name]),
            caption=caption(f"tables/{name}"),
            **place(row, name, "" if columns is None else " (table)"),
        )
        for name, columns in row.columns.items()
    }


def table_keys(row):
    """What the tables of a row use of the config: what their function gets, and which files."""
    inputs = row.inputs.values()
    keys = [*row.uses.values(), *(key for how in inputs for key in how.at.values())]
    if row.per == STUDY and any(how.labels for how in inputs):
        keys += ["conditions", "refit_names"]
    return dict.fromkeys(keys)


def table_call(row):
    """What the script of tables is told."""
    inputs = {
        name: {
            "labels": how.labels,
            "hashed": how.hashed,
            "pattern": "" if how.table else getattr(paths, how.source),
        }
        for name, how in row.inputs.items()
    }
    return {"function": row.function, "inputs": inputs, "uses": row.uses}


def figure_inputs(row):
    """What a figure draws: its table, and those that come with it."""
    drawn = {name: paths.table_of(TABLES[name]) for name in (row.name, *row.draws)}
    return drawn | {row.name: configured(drawn[row.name])}


def figure_outputs(row):
    """A figure: a PDF, and a PNG with its caption and place in the report."""
    pdf, png = paths.figure_files(row.path).values()
    return {
        "pdf": pdf,
        "png": report(png, caption=caption(row.name), **place(row, row.name)),
    }
