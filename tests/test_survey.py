"""Files looked at before long work, and places for results: utils/audio/survey.py, utils/results.py."""
import errno
import os
import signal
import threading
import time

import numpy as np
import pytest
import soundfile
from helpers.errors import refused

from utils import results
from utils.audio.audio_file import AudioError
from utils.audio.recording import inspect_header
from utils.audio.survey import require_all, require_files, stamp, survey
from utils.errors import NotFoundError, OutputError
from utils.results import noting_failure, require_writable, result_folder, why_not_writable


def put(path, seconds=1.0, rate=16000):
    soundfile.write(path, np.full(round(seconds * rate), 0.1), rate)
    return str(path)


def test_all_are_looked_at_by_many_threads_and_given_back_in_place():
    together = threading.Barrier(8, timeout=20)

    def look(number):
        if number < 8:
            together.wait()
        return number * number

    assert survey(range(1000), look) == {number: number * number for number in range(1000)}


@pytest.mark.parametrize(("bad", "names"), [([7], ["file 7"]), ([3, 1], ["2 of 20", "file 1", "file 3"]),
                                            ([9, 8, 7, 6, 5], ["5 of 20", "file 5", "file 6", "file 7"])])
def test_those_that_cannot_be_used_are_counted_and_the_first_named(bad, names):
    seen = []

    def look(number):
        seen.append(number)
        if number in bad:
            raise AudioError(f"file {number}")

    with refused(AudioError, *names) as refusal:
        survey(range(20), look)
    assert sorted(seen) == list(range(20)) and "file 8" not in str(refusal.value)


def test_an_interrupt_ends_it_after_the_items_that_are_looked_at():
    seen = []

    def look(number):
        seen.append(number)
        if number == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.01)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)     # programs that ran here may have left another
    try:
        with pytest.raises(KeyboardInterrupt):
            survey(range(16 * 200), look)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(seen) < 16 * 50


def test_nothing_to_look_at_is_no_fault():
    assert survey([], len) == {}
    require_all([], 0)
    require_files({}, "list", "do")


def test_missing_files_are_counted_and_the_first_named(tmp_path):
    there = put(tmp_path / "there.wav")
    require_files({there: there}, "list", "look for it")
    names = [str(tmp_path / f"{number}.wav") for number in range(5)]
    with refused(NotFoundError, "list", "5 of 6", *[f"item {name}" for name in names[:3]], "look for it") as refusal:
        require_files({there: there} | {name: f"item {name}" for name in names}, "list", "look for it")
    assert names[3] not in str(refusal.value)


@pytest.mark.parametrize(("seconds", "rate", "resample", "facts"), [
    (0.25, 16000, False, None), (0.24, 16000, False, ["0.24 s", "0.25 s"]), (0.25, 8000, True, None),
    (0.24, 8000, True, ["0.24 s"]), (1, 8000, False, ["8000 Hz", "16000 Hz"])])
def test_a_length_by_the_header(tmp_path, seconds, rate, resample, facts):
    path = put(tmp_path / "a.wav", seconds, rate)
    if facts is None:
        inspect_header(path, 4000, 16000, resample)
        return
    with refused(AudioError, path, *facts):
        inspect_header(path, 4000, 16000, resample)


def test_a_stamp_changes_with_the_file(tmp_path):
    path = put(tmp_path / "a.wav")
    stamps = [stamp(path)]
    assert stamps == [stamp(path)]
    os.utime(path, ns=(0, stamps[0].time + 1))
    stamps.append(stamp(path))
    put(path, 2.0)
    os.utime(path, ns=(0, stamps[0].time))
    stamps.append(stamp(path))
    assert len(set(stamps)) == 3
    os.unlink(path)
    with refused(AudioError, path, "no such"):
        stamp(path)


def test_where_results_go(tmp_path):
    checkpoint = tmp_path / "run" / "best.ckpt"
    assert result_folder("", checkpoint, "eval_x") == tmp_path / "run" / "eval_x"
    assert result_folder(str(tmp_path / "a" / "b"), checkpoint, "eval_x") == tmp_path / "a" / "b"
    assert not list(tmp_path.iterdir())     # made by what writes into them


@pytest.mark.parametrize("reason", ["a file", "below a file", "read-only", "full"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch, capsys, reason):
    """Said and gone without where it is the default, refused where it was asked for."""
    folder = tmp_path / "run" / "eval_x"
    folder.parent.mkdir()
    if reason == "a file":
        folder.write_text("")
    elif reason == "below a file":
        folder = folder / "eval_x"
        folder.parent.write_text("")
    else:
        class Full:
            def __init__(self, *_):
                if reason == "read-only":
                    raise OSError(errno.EROFS, "Read-only file system")

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(results, "open", Full, raising=False)
    assert result_folder("", folder.parent / "best.ckpt", "eval_x") is None
    assert str(folder) in (printed := capsys.readouterr().err) and "--output_folder" in printed
    with refused(OutputError, folder, "--output_folder"):
        result_folder(str(folder), folder.parent / "best.ckpt", "eval_y")
    with refused(OutputError, folder, "do this"):
        require_writable(folder, "do this")


def test_trying_a_place_leaves_nothing(tmp_path):
    assert why_not_writable(tmp_path / "a" / "b") == why_not_writable(tmp_path) == ""
    assert not list(tmp_path.iterdir())


def test_what_the_work_can_do_without(capsys):
    with noting_failure("pictures"):
        raise OutputError("a.png: full")
    assert "pictures" in (printed := capsys.readouterr().err) and "a.png: full" in printed
    with refused(NotFoundError, "other"), noting_failure("pictures"):
        raise NotFoundError("other")
