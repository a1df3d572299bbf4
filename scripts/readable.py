"""Refuse a config file that cannot be read: Snakemake would show a traceback.

`make` calls this before it runs: python scripts/readable.py [--configfile FILE]
"""

import argparse
import sys

from headstability.errors import UserError
from headstability.study.config_file import read_config


def main() -> None:
    """End with one message if the config is no YAML or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", default="config.yaml", help="the study")
    try:
        read_config(parser.parse_args().configfile)
    except UserError as error:
        sys.exit(f"Error: {error}")


main()
