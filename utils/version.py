"""The version of all programs; pyproject.toml takes it from here."""
import argparse

VERSION = "0.1.0"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Gives a program the flag --version."""
    parser.add_argument("--version", action="version", version=f"mindspore-speech-zoo {VERSION}",
                        help="print the version and end")
