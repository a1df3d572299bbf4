import pytest
from driver import SMOKE, copy_repository, snakemake


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy of the repository in which the smoke study has run."""
    folder = copy_repository(tmp_path_factory.mktemp("smoke") / "repository")
    output = snakemake(folder, "--cores", "2", *SMOKE)
    (folder / "run.log").write_text(output)
    return folder
