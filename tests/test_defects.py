"""Any exception ends a program in one line; the traceback of a defect is in the log that the line names."""
import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from helpers.documents import ROOT
from helpers.errors import assert_named
from helpers.programs import called

from ecapatdnn.src.config import Config
from utils.corpora.corpus import Job, inspect
from utils.defects import TRACEBACK
from utils.errors import RunError, skipping
from utils.training.loader import Batches
from utils.training.run_folder import RunFolder


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """The folder of logs, and no tracebacks on the screen, as users have it."""
    monkeypatch.delenv(TRACEBACK, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "logs"))
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def fail(error):
    """A program that raises `error`."""
    def main():
        raise error

    return called(lambda _: main())


def assert_line(code, output, expected, *names):
    assert code == expected and output.startswith("error: "), output
    assert_named(output.removesuffix("\n"), names)


@pytest.mark.parametrize("error", [
    TypeError("samplerate must be specified"), RuntimeError("The shapes differ.\n\n---\n- C++ Call Stack:\n---\nx.cc"),
    ZeroDivisionError(), KeyError("a"), AssertionError(), OSError(errno.EINVAL, "Invalid argument"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"), UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates")])
def test_a_defect_is_a_line_that_names_its_log(logs, error):
    code, output = fail(error)
    log, = logs.iterdir()
    assert_line(code, output, 1, type(error).__name__, log)
    assert "C++ Call Stack" not in output and "Traceback" in log.read_text() and f"{error}" in log.read_text()


@pytest.mark.parametrize("error", [
    MemoryError("Unable to allocate 307. GiB"), MemoryError(), RuntimeError("std::bad_alloc"),
    RuntimeError("Malloc for kernel output failed, Memory isn't enough, node:x"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("\nAllocate memory failed, alloc size 9B."), BrokenProcessPool("A child process terminated abruptly")])
def test_a_lack_of_memory_is_said_in_plain_words(logs, error):
    code, output = fail(error)
    assert_line(code, output, 2, "memory", "lower")
    assert not list(logs.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_what_a_machine_lacks_is_no_defect(logs, number):
    code, output = fail(OSError(number, os.strerror(number), "/a/b"))
    assert_line(code, output, 2, "/a/b", os.strerror(number))
    assert not list(logs.iterdir())


def test_a_traceback_on_the_screen_for_those_who_ask(logs, monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")
    code, output = fail(ValueError("x"))
    assert code == 1 and "Traceback" in output and output.splitlines()[-1].startswith("error: ")


def test_a_log_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    code, output = fail(ValueError("x"))
    assert_line(code, output, 1, "ValueError", f"{TRACEBACK}=1")


@pytest.mark.parametrize("writing", [False, True])
def test_ctrl_c_in_the_midst_of_mindspore(tmp_path, writing):
    """Its modules catch KeyboardInterrupt, as this one does, and fail at something else then."""
    (tmp_path / "mindspore").mkdir()
    (tmp_path / "mindspore" / "__init__.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
        "raise ImportError('already registered')\n")
    use = f"with whole_file({str(tmp_path / 'out' / 'a.wav')!r}): import mindspore" if writing else "import mindspore"
    code = f"from utils.errors import run\nfrom utils.files import whole_file\ndef main():\n    {use}\nrun(main)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False,
                          env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert (done.stdout, done.stderr) == ("", "interrupted\n")
    assert done.returncode == (-signal.SIGTERM if writing else 130)
    assert not writing or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("error, expected", [(SystemExit(7), 7), (SystemExit(None), None), (KeyboardInterrupt(), 130)])
def test_other_ends_stay_what_they_are(logs, error, expected):
    code, output = fail(error)
    assert code == expected and "defect" not in output and not list(logs.iterdir())


@pytest.mark.parametrize("error, expected", [(TypeError("no header"), 1), (MemoryError(), 2), (RunError("b: x"), 2)])
def test_the_rest_of_a_batch_is_done(error, expected):
    def main(paths):
        failed = []
        for path in paths:
            with skipping(path, paths, failed):
                if path == "b":
                    raise error
                print(path)
        raise RunError(f"failed: {failed}")

    code, output = called(main, "a", "b", "c")
    assert code == expected and re.fullmatch(r"a\nerror: b: .*\nc\nerror: failed: \['b'\]\n", output), output


def test_a_corpus_is_read_on_behind_a_defect(monkeypatch):
    monkeypatch.setattr("utils.corpora.corpus.recording.inspect", lambda *_: 1 / 0)
    found = inspect(Job("a.wav", "x/a.wav", "x/a.wav", 16000, 1.0))
    assert found.samples == 0
    assert_named(found.reason, ["x/a.wav", "ZeroDivisionError"])


def test_a_reader_that_has_read_enough():
    """python program | head -1: no traceback, no complaint of the interpreter's, and the shell's exit code."""
    program = "from utils.errors import run\nrun(lambda: [print(i) for i in range(200_000)])"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 128 + signal.SIGPIPE


def test_a_run_has_the_traceback_in_its_own_log(tmp_path, logs):
    def main(_):
        with RunFolder(Config(ckpt_save_dir=str(tmp_path / "run"))) as folder:
            folder.start()
            raise IndexError("out of range")

    code, output = called(main)
    assert_line(code, output, 1, "IndexError", tmp_path / "run" / "train.log")
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text() and not list(logs.iterdir())


class Broken:
    """A data set with a defect."""

    steps = files = 4

    def describe(self):
        return "broken"

    def batch(self, epoch, index):
        return {}[epoch]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_in_a_data_worker_ends_likewise(logs, workers):
    def main(_):
        with Batches(Broken(), workers) as batches:
            list(batches.epoch(1))

    code, output = called(main)
    log, = logs.iterdir()
    assert_line(code, output, 1, "KeyError", log)
    assert "return {}[epoch]" in log.read_text()


def test_every_program_ends_so():
    """Whatever can be started calls `run`, but for the example that reads the runner's answers."""
    listed = subprocess.run(["git", "grep", "-l", "__name__ == .__main__.", "--", "*.py"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    programs = [path for path in listed if Path(path).parts[0] not in ("tests", "benchmarks", "ascend310_infer")]
    assert len(programs) > 30
    assert [path for path in programs if not re.search(r"^    run\(", (ROOT / path).read_text(), re.M)] == []
