"""docs/documents.md: every row has its test, and what it says is taken as it stands is there."""
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from helpers.commands import flags_of, recipe_flags
from helpers.documents import ROOT, defined_tests, table

TEXT = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
# section: (model, least number of rows)
SECTIONS = {"Speaker identification on mini LibriSpeech (PyTorch on Ascend)": ("ecapatdnn", 25),
            "ECAPA-TDNN (MindSpore)": ("ecapatdnn", 29),
            "ECAPA-TDNN (TaoRuijie)": ("ecapatdnn", 18),
            "Conv-TasNet (MindSpore)": ("conv_tasnet", 26),
            "DeepSpeech2 (PyTorch on Ascend)": ("deepspeech2", 13)}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_names_a_test_that_runs(section):
    rows, tests = table(TEXT, section), defined_tests()
    assert len(rows) >= SECTIONS[section][1], f"{section}: {len(rows)} rows"
    for row in rows:
        assert len(row) == 3 and all(row), row
        named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", row[2])
        assert named, row
        for file, name in named:
            assert name in tests.get(file, {}), f"{file}::{name} is not there, or always skipped"


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_taken_as_it_stands_is_there(section):
    """In rows whose second cell begins with `as is`: scripts, programs, flags and settings that the first names."""
    model = SECTIONS[section][0]
    known = flags_of(model) | recipe_flags()
    for document, here, _ in table(TEXT, section):
        if not here.startswith("as is"):
            continue
        for code in re.findall(r"`([^`]+)`", document):
            for name in re.findall(r"(?:python3?|bash) (?:\./)?([\w./]+\.(?:py|sh))", code):
                assert any((ROOT / model / folder / name).is_file() for folder in ("", "scripts", "data")), document
            assert set(re.findall(r"(?<!\S)--([\w.-]+)", code)) <= known, f"{code}: {document}"
            if re.fullmatch(r"[A-Za-z]\w*(?:-\w+)*", code) and not (ROOT / model / code).exists() \
                    and not (ROOT / code).exists():
                assert code in known, f"{code}: {document}"


def test_every_section_is_tested():
    assert set(re.findall(r"^## (.*)$", TEXT, re.M)) == {"Versions", *SECTIONS}


def test_reading_of_a_table():
    """A bar in code, an empty table, a heading that is missing."""
    text = "## A\n\n| x | y |\n|---|:-:|\n| `a \\| b` | c |\n\n## B\n\n| x |\n|---|\n"
    assert table(text, "A") == table(text, "x") == [["`a | b`", "c"]] and table(text, "B") == []
    with pytest.raises(AssertionError, match="C: no such"):
        table(text, "C")


def test_tested_versions_are_those_installed():
    """And the others are what this MindSpore says of itself."""
    rows = {part: (version, status) for part, version, status in table(TEXT, "Versions")}
    assert {status for _, status in rows.values()} == {"tested", "untested here"}
    tested = {part.split(",")[0]: version for part, (version, status) in rows.items() if status == "tested"}
    script = (ROOT / "ascend310_infer" / "build.sh").read_text()
    assert tested == {"MindSpore": importlib.metadata.version("mindspore"),
                      "MindSpore Lite": re.search(r"^VERSION=(.*)$", script, re.M)[1],
                      "Python": tested["Python"]}
    pythons = {tested["Python"], *rows["Python, others that MindSpore 2.10.0 is published for"][0].split(", ")}
    assert pythons == {"3.10", "3.11", "3.12"} and f"{sys.version_info[0]}.{sys.version_info[1]}" in pythons
    package = Path(importlib.util.find_spec("mindspore").origin).parent
    checker = (package / "run_check" / "_check_version.py").read_text().split("class AscendEnvChecker")[1]
    accepted = re.findall(r"[\d.]+", re.search(r"self\.version = \[(.*?)\]", checker)[1])
    assert rows["MindSpore 2.10.0 on an Ascend 910"][0] == f"CANN {', '.join(accepted)}"
