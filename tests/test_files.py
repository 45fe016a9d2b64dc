"""Files that are whole or not there: what happens to them when a disk is full, and when the writer is stopped."""
import ast
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import imports
from helpers.errors import refused

from utils.errors import OutputError
from utils.files import (
    UNFINISHED,
    is_outdated,
    put,
    remove_unfinished,
    whole_file,
    whole_files,
    whole_folder,
    write_text,
)


@pytest.fixture
def old(tmp_path):
    """A file of a former writing, alone in its folder."""
    path = tmp_path / "folder" / "a.txt"
    path.parent.mkdir()
    path.write_text("old")
    return path


def untouched(path):
    return path.read_text() == "old" and os.listdir(path.parent) == [path.name]


def test_the_new_file_appears_complete_and_nothing_else_stays(old):
    with whole_file(old) as temporary:
        assert temporary.name == "a.txt" and temporary.parent.parent == old.parent and not temporary.exists()
        temporary.write_text("half of ")
        assert old.read_text() == "old"
        temporary.write_text("new")
    assert old.read_text() == "new" and os.listdir(old.parent) == ["a.txt"]


def test_missing_folders_are_made_and_a_suffix_is_what_the_writer_needs(tmp_path):
    with whole_file(tmp_path / "x" / "y" / "numbers", suffix=".npz") as temporary:
        assert temporary.name == "numbers.npz"
        np.savez(temporary, a=np.arange(3))
    with whole_file(tmp_path / "b.npz", suffix=".npz") as temporary:
        assert temporary.name == "b.npz"
        np.savez(temporary, a=np.arange(3))
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["numbers"]
    assert np.load(tmp_path / "x" / "y" / "numbers")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_what_umask_says(tmp_path, umask):
    previous = os.umask(umask)
    try:
        with whole_file(tmp_path / "a") as temporary:
            temporary.write_text("")
            temporary.chmod(0o400)      # as MindSpore does
        with whole_folder(tmp_path / "b") as temporary:
            pass
    finally:
        os.umask(previous)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o666 & ~umask, 0o777 & ~umask]


def test_a_link_stays_a_link_and_its_file_is_replaced(old, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("folder/a.txt")
    write_text(link, "new")
    assert link.is_symlink() and old.read_text() == "new" and sorted(os.listdir(tmp_path)) == ["folder", "link"]
    old.unlink()
    write_text(link, "again")
    assert link.is_symlink() and old.read_text() == "again"


# ---- faults

@pytest.mark.parametrize("error", [ValueError("of the writer"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_in_the_middle_keeps_the_old_file(old, error):
    with pytest.raises(type(error)) as raised, whole_file(old) as temporary:
        temporary.write_text("half")
        raise error
    assert raised.value is error and untouched(old)


def test_an_error_about_another_file_is_not_taken_for_one_of_the_target(old):
    with pytest.raises(FileNotFoundError), whole_file(old) as temporary:
        temporary.write_text(Path("nowhere.txt").read_text())
    assert untouched(old)


def test_a_full_disk_is_one_line_and_keeps_the_old_file(old):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))       # Python ignores SIGXFSZ
    try:
        with refused(OutputError, old, "File too large"):
            write_text(old, "x" * 5000)
        with refused(OutputError, old, "other words"), \
                whole_file(old, remedy="other words", failures=(soundfile.LibsndfileError,)) as temporary:
            soundfile.write(temporary, np.zeros(5000), 8000, format="WAV")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert untouched(old)


def test_a_disk_that_cannot_take_what_it_has_in_memory_keeps_the_old_file(old, monkeypatch):
    def broken(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with refused(OutputError, old, "Input/output error"):
        write_text(old, "new")
    assert untouched(old)
    write_text(old, "new", flush=False)
    assert old.read_text() == "new"


def test_file_and_names_are_on_the_disk_before_and_after_the_rename(old, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(os.readlink(f"/proc/self/fd/{handle}")),
                                                     fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda source, target: (events.append("rename"), replace(source, target)))
    write_text(old, "new")
    assert [Path(event).name for event in events] == ["a.txt", "rename", "folder"]


def test_what_cannot_be_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("old")
    for path, fact in ((tmp_path, "folder"), ("/dev/null", "device"), (tmp_path / "file" / "a", "File exists")):
        with refused(OutputError, path, fact):
            write_text(path, "new")
    assert os.listdir(tmp_path) == ["file"] and stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(old):
    old.parent.chmod(0o500)
    try:
        with refused(OutputError, old, "Permission denied"):
            write_text(old, "new")
    finally:
        old.parent.chmod(0o700)
    assert untouched(old)


def test_a_folder_without_permission_is_named_to_root_too(old, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied", str(old.parent))

    monkeypatch.setattr(os, "mkdir", deny)
    with refused(OutputError, old, "Permission denied"):
        write_text(old, "new")
    assert untouched(old)


WRITER = """
import os, signal, sys, time
from utils.files import whole_file
signal.signal(signal.SIGHUP, signal.SIG_DFL)    # what nohup starts ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
with whole_file(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(30)
"""


def stopped(path, number):
    """The exit code of a process that signal `number` stops in the middle of writing `path`."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "writing\n"
    writer.send_signal(number)
    return writer.wait(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_in_the_middle_keeps_the_old_file(old, number):
    assert stopped(old, number) == -number
    assert untouched(old)


def test_a_kill_in_the_middle_keeps_the_old_file_and_what_it_leaves_can_be_removed(old):
    assert stopped(old, signal.SIGKILL) == -signal.SIGKILL
    assert old.read_text() == "old"
    left = [name for name in os.listdir(old.parent) if name != "a.txt"]
    assert len(left) == 1 and left[0].startswith(UNFINISHED)
    remove_unfinished(old.parent.parent)
    assert untouched(old)


def test_a_handler_of_the_program_is_left_alone(old):
    received = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with whole_file(old) as temporary:
            os.kill(os.getpid(), signal.SIGTERM)
            temporary.write_text("new")
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert received == [signal.SIGTERM] and old.read_text() == "new"


RIVAL = """
import sys, time
from utils.files import write_text
while not sys.stdin.read(1):
    pass
for number in range(200):
    write_text(sys.argv[1], sys.argv[2] * 50000, flush=False)
"""


def test_two_processes_that_write_one_file_leave_one_of_theirs(old):
    rivals = [subprocess.Popen([sys.executable, "-c", RIVAL, old, letter], stdin=subprocess.PIPE) for letter in "xy"]
    for rival in rivals:
        rival.stdin.write(b"!")
        rival.stdin.close()
    seen = set()
    while any(rival.poll() is None for rival in rivals):
        seen.add(old.read_text())
        time.sleep(0.001)
    assert [rival.returncode for rival in rivals] == [0, 0]
    assert seen <= {"old", "x" * 50000, "y" * 50000} and old.read_text() in {"x" * 50000, "y" * 50000}
    assert os.listdir(old.parent) == ["a.txt"]


# ---- several files, folders

def test_files_that_belong_together_appear_together(old):
    other = old.with_name("b.txt")
    with refused(OutputError, old), whole_files(old, other) as (first, _):
        first.write_text("new")         # and nothing writes the second
    assert untouched(old)
    with whole_files(old, other) as files:
        for file in files:
            file.write_text("new")
            assert not other.exists()
        files[0].with_name("scratch").write_text("goes")
    assert old.read_text() == other.read_text() == "new" and len(os.listdir(old.parent)) == 2


def test_files_that_belong_together_may_not_be_linked_apart(tmp_path, old):
    link = tmp_path / "b.txt"
    link.symlink_to(old)
    with refused(OutputError, link, old.parent), whole_files(tmp_path / "a.txt", link):
        pytest.fail("the block has begun")
    assert untouched(old) and sorted(os.listdir(tmp_path)) == ["b.txt", "folder"]


@pytest.mark.parametrize(("made", "sources", "outdated"), [
    ("a", ["before", "gone"], False), ("a", ["gone"], False), ("a", ["gone", "after"], True),
    ("gone", ["before"], True)])
def test_what_is_outdated(made, sources, outdated, tmp_path):
    for seconds, name in enumerate(("before", "a", "after")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (2e9 + seconds, 2e9 + seconds))     # later than that of the system
    assert is_outdated(tmp_path / made, *(tmp_path / name for name in sources)) == outdated


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "new") as temporary:
        (temporary / "a").write_text("half")
        raise KeyError
    assert os.listdir(tmp_path) == []
    with whole_folder(tmp_path / "new") as temporary:
        write_text(temporary / "x" / "a", "whole")
        assert os.listdir(tmp_path) == [temporary.parent.name]
    assert (tmp_path / "new" / "x" / "a").read_text() == "whole"
    with refused(OutputError, tmp_path / "new", "Directory not empty"), \
            whole_folder(tmp_path / "new") as temporary:
        (temporary / "b").write_text("of another process")
    assert os.listdir(tmp_path / "new") == ["x"] and os.listdir(tmp_path) == ["new"]


def test_an_error_inside_a_new_folder_names_the_place_it_was_to_have(tmp_path):
    with refused(OutputError, tmp_path / "new" / "a", "folder"), whole_folder(tmp_path / "new") as temporary:
        (temporary / "a").mkdir()
        write_text(temporary / "a", "not a file")


def test_what_was_made_in_several_goes_takes_the_place_of_the_old(tmp_path):
    for name, text in (("made", "new"), ("target", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / text).write_text(text)
    put(tmp_path / "made", tmp_path / "target")
    assert os.listdir(tmp_path) == ["target"] and os.listdir(tmp_path / "target") == ["new"]
    (tmp_path / "a.part").write_text("whole")
    (tmp_path / "a").write_text("old")
    put(tmp_path / "a.part", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "whole" and sorted(os.listdir(tmp_path)) == ["a", "target"]
    with refused(OutputError, tmp_path / "b", "No such file"):
        put(tmp_path / "a.part", tmp_path / "b")


# ---- nobody else does it

RENAMES = {("os", "rename"), ("os", "renames"), ("os", "replace"), ("shutil", "move"),
           ("tempfile", "mkstemp"), ("tempfile", "mkdtemp"), ("tempfile", "NamedTemporaryFile")}   # exceptions: none


def renames(tree):
    """Calls by which a file gets its name, such as {"os.replace", "Path.rename"}."""
    calls = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            calls |= {f"{node.module}.{alias.name}" for alias in node.names if (node.module, alias.name) in RENAMES}
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, owner = node.func.attr, getattr(node.func.value, "id", "")
        if (owner, name) in RENAMES:
            calls.add(f"{owner}.{name}")
        # str.replace takes two arguments, dataclasses.replace and others keywords
        elif name in ("rename", "replace") and len(node.args) == 1 and not node.keywords:
            calls.add(f"Path.{name}")
    return calls


def test_every_way_of_renaming_is_recognised():
    text = """
import os, shutil, tempfile
from os import replace
os.rename(a, b); shutil.move(a, b); tempfile.mkstemp(); Path(a).replace(b); path.rename(b)
text.replace("a", "b"); dataclasses.replace(config, length=3); tempfile.TemporaryDirectory()
"""
    assert renames(ast.parse(text)) == {"os.replace", "os.rename", "shutil.move", "tempfile.mkstemp", "Path.replace",
                                        "Path.rename"}


def test_nothing_else_gives_a_finished_file_its_name():
    calls_of = {path: renames(tree) for path, tree in imports.sources().items()
                if path.parts[0] != "tests" and path != Path("utils/files.py")}
    assert len(calls_of) > 80 and {path: calls for path, calls in calls_of.items() if calls} == {}


def test_what_is_just_being_written_is_no_leftover(old):
    (old.parent / f"{UNFINISHED}x").mkdir()
    with whole_file(old.parent / "b.txt") as temporary:
        remove_unfinished(old.parent)
        assert [path.name for path in old.parent.glob(UNFINISHED + "*")] == [temporary.parent.name]
        temporary.write_text("whole")
    assert (old.parent / "b.txt").read_text() == "whole"
