"""Programs print their own lines: not a library's that no user can act upon, nor a compiler's unless it fails."""
import io
import logging
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext

import mindspore
import pytest
from helpers.documents import ROOT
from helpers.errors import refused

from utils.device import select_device
from utils.errors import UnsupportedError


def test_a_warning_that_concerns_nobody_is_left_out_and_others_are_not(device):
    logger = logging.getLogger(f"ME.mindspore.log.{os.getpid()}")
    assert logger.handlers      # MindSpore's own, not one made here
    for text, shown in (("'FusedSparseAdam' is deprecated from version 2.8.0", False),
                        ("'Something' is deprecated from version 2.8.0", True)):
        assert bool(logger.filter(logging.makeLogRecord({"msg": text, "levelno": logging.WARNING}))) == shown


@pytest.mark.parametrize("error, shown", [("Unsupported device target Ascend. This process", False), ("busy", True),
                                          ("", True)])
def test_the_log_of_a_device_is_shown_unless_there_is_none(monkeypatch, error, shown):
    """Of a missing one the error is the only line; "" stands for one that works."""
    logger, lines = logging.getLogger(f"ME.mindspore.log.{os.getpid()}"), logging.StreamHandler(io.StringIO())

    def set_device(target, number):
        logger.warning("no driver")
        if error:
            raise RuntimeError(error)

    monkeypatch.setattr(mindspore, "set_device", set_device)
    monkeypatch.setattr(logger, "handlers", [lines])
    with refused(UnsupportedError, "device_target Ascend", "DEVICE_TARGET=CPU") if error else nullcontext():
        select_device("Ascend", 0)
    assert lines.stream.getvalue() == "no driver\n" * shown


@pytest.mark.parametrize("code", [0, 1])
def test_what_the_compiler_says_is_shown_where_it_fails(tmp_path, code):
    shutil.copy(ROOT / "ascend310_infer" / "build.sh", tmp_path)
    cmake = tmp_path / "cmake"
    cmake.write_text(f'#!/bin/sh\n[ "$1" = -S ] && exit 0\necho wav.cc: no such function\nexit {code}\n')
    cmake.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MS_LITE_HOME": str(tmp_path),
                                "PYTHON": sys.executable}
    done = subprocess.run(["bash", tmp_path / "build.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("wav.cc: no such function" in done.stdout + done.stderr) == bool(code)
