"""--help: every flag of every program says what it means."""
import ast
import dataclasses
import importlib
import re
import subprocess
import sys

import pytest
from helpers import imports
from helpers.documents import ROOT

from deepspeech2.src.config import Config
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
    printed = capsys.readouterr().out
    assert [name for name in texts if len(re.findall(rf"^ {{,4}}--{name}\b", printed, re.M)) != 1] == []    # once
    printed = " ".join(printed.split())
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


# each takes long to import, and no command line needs it
HEAVY = ("mindspore", "matplotlib", "scipy.fft", "scipy.optimize", "scipy.signal", "scipy.stats", "onnx", "av",
         "librosa", "torch")
ALL_HELP = f"""
import contextlib, io, runpy, sys
for module in sys.argv[1:]:
    before, shown, sys.argv = set(sys.modules), io.StringIO(), [module, "--help"]
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            print(module, "ends with exit code", end.code)
    if not shown.getvalue():
        print(module, "prints no help")
    for name in sys.modules.keys() & set({HEAVY}) - before:
        print(module, "imports", name)
"""


def test_no_help_waits_for_a_library():
    """Of every program, all in one process; but for utils.cpu_ops and the runner's example, which take none."""
    programs = sorted(imports.module_of(path).removesuffix(".__main__") for path, tree in imports.sources().items()
                      if path.parts[0] not in ("tests", "benchmarks", "ascend310_infer")
                      and any(ast.unparse(node).startswith("if __name__") for node in tree.body))
    programs.remove("utils.cpu_ops")
    assert {"ecapatdnn.train", "deepspeech2.lm", "utils.launch", "demo"} <= set(programs)
    done = subprocess.run([sys.executable, "-c", ALL_HELP, *programs], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("model", ["ecapatdnn", "conv_tasnet", "deepspeech2"])
def test_the_formats_of_a_command_line_are_those_of_the_tables(model):
    formats = importlib.import_module(f"{model}.import_torch").FORMATS
    assert formats == tuple(importlib.import_module(f"{model}.src.torch_layout").ORIGINALS)


@pytest.mark.parametrize("program", ["deepspeech2.infer", "meeting.infer"])
def test_a_flag_for_a_setting_says_of_it_what_the_setting_says(program, capsys):
    """That a search of width 0 is greedy without a language model alone, for one."""
    with pytest.raises(SystemExit):
        importlib.import_module(program).parse(["--help"])
    assert explained(Config)["beam_width"][1] in " ".join(capsys.readouterr().out.split())
