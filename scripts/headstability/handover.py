"""What a run hands to its jobs on other nodes: its config and code hashes.

There, Snakemake reads rules and config again for every job. It must see those the run started
with: the run records its jobs with them, and a config edited in the meantime would train models
that are recorded as made from the former one.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import json_sha256, read_json, write_json

FOLDER = Path(".snakemake", "headstability")
# Jobs inherit the path of the file their run wrote.
RUN = "HEADSTABILITY_RUN"


def hand_over(config: Mapping[str, Any], code: Mapping[str, Mapping[str, str]]) -> None:
    """Write what jobs of this process need, under a name that follows from the content.

    Args:
        config: the merged config. Its order counts: tables follow it.
        code: hashes of the code of every rule.
    """
    content = {"config": json.dumps(config), "code": code}
    path = FOLDER.absolute() / f"{json_sha256(content)[:16]}.json"
    if not path.exists():
        write_json(path, content)
    os.environ[RUN] = str(path)


def handed_over() -> tuple[dict[str, Any], dict[str, dict[str, str]]] | None:
    """Config and code hashes of the run this process is a job of, if it handed any over.

    Raises:
        UserError: the file it left is gone or damaged.
    """
    path = os.environ.get(RUN)
    if path is None:
        return None
    content = read_json(path)
    return json.loads(content["config"]), content["code"]
