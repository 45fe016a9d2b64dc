"""--help: every flag of every program says what it means."""
import ast
import dataclasses
import importlib

import pytest
from helpers import imports

from utils.config import explained, parse_config

CONFIGS = sorted({(".".join(path.with_suffix("").parts), node.name) for path, tree in imports.sources().items()
                  if path.parts[0] not in ("tests", "benchmarks") for node in ast.walk(tree)
                  if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Flags"))})


@dataclasses.dataclass(frozen=True)
class Base:
    """A base."""

    # data
    kept: int = 1       # what the base says; 50 % of it
    changed: int = 2    # the old


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    """A subclass.

    --flag  what the docstring says
    """

    # network
    flag: str = "a # b"
    kept: int = 3
    changed: int = 4    # the new


@pytest.mark.parametrize(("module", "name"), CONFIGS)
def test_every_setting_says_what_it_means_where_help_shows_it(module, name, capsys):
    config = getattr(importlib.import_module(module), name)
    texts = explained(config)
    assert set(texts) == {field.name for field in dataclasses.fields(config)}
    assert [setting for setting, (_, text) in texts.items() if not text] == []
    with pytest.raises(SystemExit):
        parse_config(config, ["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for section, text in texts.values():
        assert " ".join(text.split()) in printed and f"{section}" in printed


def test_a_subclass_keeps_what_its_base_says_and_may_say_another():
    assert explained(Derived) == {"flag": ("network", "what the docstring says"),
                                  "kept": ("network", "what the base says; 50 % of it"),
                                  "changed": ("network", "the new")}


def test_every_other_option_has_a_text():
    missing = [f"{path}:{node.lineno}" for path, tree in imports.sources().items() for node in ast.walk(tree)
               if path.parts[0] not in ("tests", "benchmarks") and isinstance(node, ast.Call)
               and ast.unparse(node.func).endswith(".add_argument")
               and not {"help", None} & {keyword.arg for keyword in node.keywords}]
    assert missing == []
