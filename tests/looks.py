"""How the figures of tests look: as the schema has it, so that a new key of it reaches them."""

from headstability.study.schema import Figures

LOOK = {**Figures().model_dump(exclude={"include"}), "dpi": 60, "weight_decays": ["0", "0.1"]}
