"""utils/command_line.py: what is wrong with a command line is one line, as every mistake of a user."""
import subprocess
import sys

import pytest
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused

from utils.command_line import Parser
from utils.errors import SettingError


@pytest.mark.parametrize("words, facts", [
    ("a --treshold 1", ["--treshold", "--threshold"]), ("a --treshold=1", ["--threshold"]),
    ("a --thresh 1", ["--thresh"]),
    ("", ["audio"]), ("a --threshold", ["--threshold"]), ("a --kind blue", ["--kind", "blue", "red"]),
    ("a b", ["b"])])
def test_a_mistake_is_named(words, facts):
    parser = Parser(description="A program.")
    parser.add_argument("audio")
    parser.add_argument("--threshold")
    parser.add_argument("--kind", choices=["red"])
    assert parser.parse_args(["a", "--threshold", "1"]).threshold == "1"
    with refused(SettingError, *facts):
        parser.parse_args(words.split())


def test_a_program_prints_the_line_alone():
    command = [sys.executable, "-m", "utils.commands", "train", "ecapatdnn", "--num_epochs"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert_refusal(done.returncode, done.stderr, "--num_epochs")
    assert done.stderr.count("\n") == 1 and not done.stdout
