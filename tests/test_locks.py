"""A folder that is in use by one program: utils/locks.py."""
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from helpers.errors import refused

from utils.errors import OutputError
from utils.locks import LOCK, locked_folder

HOLDER = """
import os, sys, time
from utils.locks import locked_folder
with locked_folder(sys.argv[1], "folder"):
    if sys.argv[2] == "alone" or not os.fork():
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """A function that starts a process which holds a folder."""
    started = []

    def start(folder, kind="alone"):
        process = subprocess.Popen([sys.executable, "-c", HOLDER, folder, kind], stdout=subprocess.PIPE, text=True,
                                   start_new_session=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_second_is_refused_and_told_who_is_there(tmp_path, holder):
    process = holder(tmp_path)
    with refused(OutputError, "output_folder", tmp_path, f"process {process.pid}"), \
            locked_folder(tmp_path, "output_folder"):
        pass
    assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("kind", ["alone", "forks"])
def test_what_is_killed_frees_its_folder(tmp_path, holder, kind):
    """Also where a process that it has forked, such as a data worker, still lives."""
    process = holder(tmp_path, kind)
    process.kill()
    process.wait()
    with locked_folder(tmp_path, "output_folder"):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_lock_leaves_nothing(tmp_path):
    with locked_folder(tmp_path / "a" / "b", "output_folder") as folder:
        assert folder.is_dir()
        with refused(OutputError, f"process {os.getpid()}"), locked_folder(folder, "output_folder"):
            pass
    assert not list(tmp_path.iterdir())
    with locked_folder(tmp_path / "a" / "b", "output_folder") as folder:
        (folder / "c").write_text("")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "a").write_text("")
    with refused(OutputError, "output_folder", tmp_path / "a"), locked_folder(tmp_path / "a", "output_folder"):
        pass
    with refused(OutputError, "output_folder", tmp_path / "a" / "b"), \
            locked_folder(tmp_path / "a" / "b", "output_folder"):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_folder(tmp_path, "output_folder"):
        assert not list(tmp_path.iterdir())
    assert str(tmp_path) in capsys.readouterr().out


def test_a_thousand_locks_of_two_processes_are_never_held_by_both(tmp_path):
    """Each removes the file of its lock, which the other may have opened."""
    code = """if True:
        import os, sys
        from utils.errors import OutputError
        from utils.locks import locked_folder
        for _ in range(500):
            try:
                with locked_folder("folder", "folder"):
                    os.close(os.open("inside", os.O_CREAT | os.O_EXCL))
                    os.unlink("inside")
            except OutputError:
                pass
    """
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
                 for _ in range(2)]
    for process in processes:
        _, printed = process.communicate(timeout=60)
        assert process.returncode == 0, printed
