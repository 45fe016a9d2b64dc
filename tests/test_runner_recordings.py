"""The C++ runner and recordings: it reads, refuses and mixes them as Python does, whatever files are called."""
import json
import os
import resource
import struct
import subprocess

import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, assert_refusal
from helpers.halves import RATE, export_halves
from helpers.programs import run_runner

from utils.audio.recording import inspect
from utils.audio.stream import AudioError


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The exported Halves."""
    return export_halves(tmp_path_factory.mktemp("halves"))


@pytest.fixture(scope="module")
def run(runner, graph):
    """A function that runs the graph over a folder: (exit code, what is printed, function that gives a result)."""
    def over(folder, *flags, graph=graph, results=None, **environment):
        results = results or folder.with_name(f"{folder.name} results")
        code, output = run_runner(runner, graph, folder, results, "--warmup", "0", *flags, **environment)
        return code, output, lambda name, number=0: 2 * np.fromfile(results / f"{name}_{number}.bin", np.float32)
    return over


def noise(peak=0.5, seed=0, length=4000):
    samples = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    return samples * np.float32(peak) / np.abs(samples).max()


def wav(samples=None, subtype="PCM_16", form="WAV"):
    """The content of a wav file."""
    path = os.memfd_create("wav")
    with os.fdopen(path, "w+b") as file:
        soundfile.write(file, noise() if samples is None else samples, RATE, subtype, format=form)
        file.seek(0)
        return file.read()


def with_sizes(content, riff, data):
    """A wav whose header says these sizes."""
    return content[:4] + struct.pack("<I", riff) + content[8:40] + struct.pack("<I", data) + content[44:]


PIPED = {"ffmpeg": (0xFFFFFFFF, 0xFFFFFFFF), "sox": (0x7FFFF024, 0x7FFFF000), "arecord": (0x80000024, 0x80000000),
         "arecord of whole frames": (0x80000018, 0x7FFFFFF4), "less the header": (0xFFFFFFFF, 0xFFFFFFDB),
         "nothing yet": (0, 0), "as if empty": (36, 0), "half": (0x7FFFFFFF, 0x7FFFFFDB)}


def test_a_wav_from_a_pipe_is_read_to_its_end(run, tmp_path):
    """Whatever its writer put in for a length that it did not know; RF64 too."""
    folder, content = tmp_path / "in", wav()
    folder.mkdir()
    for name, sizes in PIPED.items():
        (folder / f"{name}.wav").write_bytes(with_sizes(content, *sizes))
    large, place = wav(form="RF64"), wav(form="RF64").index(b"ds64") + 16
    for name, size in (("RF64", 8000), ("RF64 from a pipe", 0), ("RF64 of any size", 2 ** 64 - 1)):
        (folder / f"{name}.wav").write_bytes(large[:place] + struct.pack("<Q", size) + large[place + 8:])
    code, output, result = run(folder)
    assert code == 0, output
    for path in folder.iterdir():
        np.testing.assert_allclose(result(path.stem), noise(), atol=2 ** -14, err_msg=path.stem)


def test_a_cut_or_joined_wav_is_refused(run, tmp_path):
    """Also one with a size that a header may have: nothing is lost in silence."""
    folder, content = tmp_path / "in", wav()
    folder.mkdir()
    for name, size in (("cut", 8002), ("cut at 2 GB", 0x7FFFE000), ("cut at 3 GB", 0xC0000000)):
        (folder / f"{name}.wav").write_bytes(with_sizes(content, size + 36, size))
    (folder / "joined.wav").write_bytes(content + content)
    (folder / "empty.wav").write_bytes(wav(noise()[:0]) + b"LIST\4\0\0\0INFO")
    (folder / "header.wav").write_bytes(content[:44])
    (folder / "good.wav").write_bytes(content)
    code, output, _ = run(folder)
    assert_refusal(code, output, "6 of 7 items")
    for name, *facts in (("cut", 8000, 8002), ("cut at 2 GB", 0x7FFFE000), ("cut at 3 GB", 0xC0000000),
                         ("joined", 8044), ("empty", "no samples"), ("header", 0, 8000)):
        assert_line(output, f"{name}.wav", *facts)


def test_wavs_of_other_writers(run, tmp_path):
    """G.711, other chunks before and behind the samples, sizes that are odd, 12 bits in 16."""
    folder, content = tmp_path / "in", wav()
    folder.mkdir()
    for kind in ("ULAW", "ALAW"):
        (folder / f"{kind}.wav").write_bytes(wav(subtype=kind))
    odd = b"note\3\0\0\0abc"
    chunks = {"padded": content[:12] + odd + b"\0" + content[12:], "not padded": content[:12] + odd + content[12:],
              "behind": content + b"LIST\4\0\0\0INFO", "12 bit": content[:34] + b"\x0c\0" + content[36:]}
    for name, changed in chunks.items():
        (folder / f"{name}.wav").write_bytes(changed)
    code, output, result = run(folder)
    assert code == 0, output
    for path in folder.iterdir():
        expected = noise() if path.stem in chunks else soundfile.read(path)[0]
        np.testing.assert_allclose(result(path.stem), expected, atol=2 ** -14 if path.stem in chunks else 1e-7,
                                   err_msg=path.stem)


def test_other_formats_are_named_with_the_command_that_converts_them(run, tmp_path):
    """By what they hold where they are called .wav, else by their names, for all at once."""
    folder = tmp_path / "in"
    folder.mkdir()
    formats = {"GSM 6.10": wav(subtype="GSM610"), "IMA ADPCM": wav(subtype="IMA_ADPCM"), "FLAC": b"fLaC" + bytes(99),
               "Ogg": b"OggS" + bytes(99), "MP3": b"ID3" + bytes(99), "MP4 (m4a)": b"\0\0\0\x20ftypM4A " + bytes(99),
               "Matroska (webm, mka)": b"\x1a\x45\xdf\xa3" + bytes(99), "AMR": b"#!AMR\n" + bytes(99)}
    for name, content in formats.items():
        (folder / f"it's {name}.wav").write_bytes(content)
    for name in ("a.flac", "b.flac", "c.mp3", "notes.txt"):
        (folder / name).write_bytes(b"fLaC")
    code, output, _ = run(folder)
    assert_refusal(code, output, f"{len(formats)} of {len(formats)} items")
    for name in formats:
        assert_line(output, f"it's {name}.wav: ", name, f"ffmpeg -i '{folder}/it'\\''s {name}.wav'")
    assert_line(output, folder, "2 .flac", "1 .mp3", "ffmpeg -i")
    for path in folder.glob("*.wav"):
        path.unlink()
    code, output, _ = run(folder)
    assert_refusal(code, output, folder, "*.wav", "2 .flac", "1 .mp3")


X = noise()
SOUNDS = {"as it is": X, "hot": 15 * X, "too hot": 17 * X, "16-bit numbers": 20000 * X, "silence": 0 * X,
          "one step": noise(2 ** -15), "constant": 0 * X + np.float32(0.25), "hiss": 0.25 + noise(2 ** -16),
          "faint": noise(1.1e-4), "quiet": noise(0.029), "not quiet": noise(0.031), "no number": np.append(X, np.nan),
          "infinite": np.append(X, np.inf), "two": np.stack((X, noise(0.3, 1)), 1), "inverted": np.stack((X, -X), 1),
          "inverted and louder": np.stack((X, np.float32(-1.1) * X), 1), "half cancelled": np.stack((X, -X / 2), 1),
          "quiet and inverted": np.stack((X, -X), 1) / 50, "no number in one": np.stack((X, X * np.nan), 1),
          "silence in one": np.stack((X, 0 * X), 1), "infinite both ways": np.full((9, 2), [np.inf, -np.inf]),
          "six": np.stack([noise(0.2, i) for i in range(6)], 1), "silent six": np.zeros((99, 6))}


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24"])
def test_sounds_are_refused_mixed_and_raised_as_in_python(run, tmp_path, subtype):
    """The same samples, and the same sentence where there is something to tell; an output as loud as the input."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, samples in SOUNDS.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype)
    code, output, result = run(folder)
    assert code == 2, output
    refused, lines = 0, output.splitlines()
    for name in SOUNDS:
        path = folder / f"{name}.wav"
        try:
            recording = inspect(path, 1, RATE)
        except AudioError as error:
            assert f"error: {error}" in lines, f"{error}: {output}"
            refused += 1
            continue
        np.testing.assert_allclose(result(name), recording.whole(RATE), atol=1e-6, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(result(name, 1), recording.as_it_is().whole(RATE), atol=1e-6, err_msg=name)
        assert [line for line in lines if f"{path}: " in line] == [f"note: {path}: {n}" for n in recording.notes]
    assert_refusal(code, output, f"{refused} of {len(SOUNDS)} items")


def test_a_graph_that_does_not_say_so_gets_no_other_level(run, graph, tmp_path):
    other = tmp_path / "other" / "net.mindir"
    other.parent.mkdir()
    other.write_bytes(graph.read_bytes())
    description = json.loads((graph.parent / "inputs.json").read_text())
    del description["raise_quiet"]
    (other.parent / "inputs.json").write_text(json.dumps(description))
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "quiet.wav", noise(0.01), RATE, "FLOAT")
    code, output, result = run(tmp_path / "in", graph=other)
    assert code == 0, output
    np.testing.assert_allclose(result("quiet"), noise(0.01), rtol=1e-6)
    assert_line(output, "quiet.wav", "-40.0 dB")


NAMES = ["a b.wav",
         "$HOME $(id).wav", "-rf.wav", "line\nbreak.wav", "caf\udce9.wav", "zażółć 録音.wav", "it's \"x\".wav",
         "a\\b;c.wav", "%s%n.wav", "x" * 200 + ".wav"]


def test_files_of_any_name(run, tmp_path):
    """Good ones have results of the same name; bad ones are named in one line of UTF-8."""
    good, bad = tmp_path / "$good \udce9", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    for name in NAMES:
        (good / name).write_bytes(wav())
        (bad / name).write_bytes(b"RIFF")
    code, output, result = run(good)
    assert code == 0, output
    for name in NAMES:
        np.testing.assert_allclose(result(name.removesuffix(".wav")), noise(), atol=2 ** -14)
    code, output, _ = run(bad)
    assert_refusal(code, output, f"{len(NAMES)} of {len(NAMES)} items")
    for name in NAMES:
        printed = name.replace("\n", "\\x0a").replace("\udce9", "\\xe9")
        assert_line(output, f"error: {bad}/{printed}: ")
    assert len(output.splitlines()) == len(NAMES) + 3


def test_names_that_cannot_be_kept_apart_or_are_too_long(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("x" * 250, "good"):
        (folder / f"{name}.wav").write_bytes(wav())
    code, output, result = run(folder)
    assert_refusal(code, output, "1 of 2 items")
    assert_line(output, "shorten") and len(result("good"))
    (folder / "good.WAV").write_bytes(wav())
    assert_refusal(*run(folder)[:2], folder / "good.wav", folder / "good.WAV")


def test_each_folder_is_entered_once(run, tmp_path):
    """Links in circles, to a folder above, to one elsewhere, to itself; to a file and to nothing."""
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (folder / "a" / "b").mkdir(parents=True)
    elsewhere.mkdir()
    for place in (folder / "a" / "one.wav", folder / "a" / "b" / "two.wav", elsewhere / "three.wav"):
        place.write_bytes(wav())
    for link, target in (("a/up", ".."), ("a/b/self", "."), ("again", "a"), ("far", elsewhere), ("far2", elsewhere),
                         ("loop.wav", "loop.wav"), ("nothing.wav", "nowhere"), ("linked.wav", "a/one.wav")):
        (folder / link).symlink_to(target)
    (elsewhere / "back").symlink_to(folder)
    os.mkfifo(folder / "pipe.wav")
    code, output, _ = run(folder)
    assert_refusal(code, output, "3 of 7 items")
    for name in ("loop.wav", "nothing.wav", "pipe.wav"):
        assert_line(output, folder / name)
    results = folder.with_name("in results")
    assert {str(path.relative_to(results)) for path in results.rglob("*_0.bin")} == {
        "a/one_0.bin", "a/b/two_0.bin", "far/three_0.bin", "linked_0.bin"}


def test_results_are_no_input_of_the_next_run(run, tmp_path):
    """Where they are in the same folder."""
    noise().tofile(tmp_path / "a.bin")
    for _ in range(2):
        code, output, _ = run(tmp_path, results=tmp_path / "out")
        assert code == 0 and "count 1\n" in output, output


def limited(kind, size):
    """What bounds a resource of a process, such as the size of its files, as a full disk does."""
    return lambda: resource.setrlimit(kind, (size, size))


def test_a_file_that_memory_does_not_hold_is_named_and_the_others_run(runner, graph, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        noise().tofile(folder / f"{name}.bin")
    os.truncate(folder / "b.bin", 2 ** 40)      # of holes
    done = subprocess.run([runner, "--mindir_path", graph, "--input_path", folder, "--output_path", tmp_path / "out",
                           "--device_target", "CPU"], capture_output=True, text=True, check=False,
                          preexec_fn=limited(resource.RLIMIT_AS, 2 ** 34), env=os.environ | {"GLOG_v": "4"})
    assert_refusal(done.returncode, done.stderr, "1 of 3 items")
    assert_line(done.stderr, folder / "b.bin", "memory")


def test_what_is_behind_the_samples_of_a_wav_needs_no_memory(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(wav())
    os.truncate(folder / "a.wav", 2 ** 40)
    code, output, result = run(folder)
    assert code == 0, output
    np.testing.assert_allclose(result("a"), noise(), atol=2 ** -14)


def test_a_full_disk_ends_the_work_in_one_line_and_the_report_is_shown(runner, graph, tmp_path):
    """What was written before is whole, and nothing else is there."""
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, length in (("a", 1000), ("b", 4000), ("c", 1000)):
        (folder / f"{name}.wav").write_bytes(wav(noise(length=length)))
    done = subprocess.run([runner, "--mindir_path", graph, "--input_path", folder, "--output_path", results,
                           "--device_target", "CPU", "--warmup", "0"], capture_output=True, text=True, check=False,
                          preexec_fn=limited(resource.RLIMIT_FSIZE, 10000), env=os.environ | {"GLOG_v": "4"})
    assert_refusal(done.returncode, done.stderr, results / "b_0.bin", "written")
    assert "count 2" in done.stdout and done.stderr.count("\n") == 1, done
    assert {path.name for path in results.iterdir()} == {"a_0.bin", "a_1.bin"}


def test_results_are_whole_beside_those_of_a_program_of_the_same_number(runner, graph, tmp_path):
    """As two in containers that write into one folder."""
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    results.mkdir()
    (folder / "a.wav").write_bytes(wav())
    done = subprocess.run(["sh", "-c", 'echo theirs > "$1/.saving-$$"; shift; exec "$@"', "sh", results, runner,
                           "--mindir_path", graph, "--input_path", folder, "--output_path", results, "--device_target",
                           "CPU"], capture_output=True, text=True, check=False, env=os.environ | {"GLOG_v": "4"})
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in results.glob(".*")] == ["theirs\n"]


def test_results_that_cannot_be_written_are_refused_before_the_work(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(wav())
    (tmp_path / "file").write_text("x")
    for place in ("/proc/nowhere", tmp_path / "file", tmp_path / "file" / "below", "/dev/null"):
        code, output, _ = run(tmp_path / "in", results=place)
        assert_refusal(code, output, place, "written")
        assert len(output.splitlines()) == 1, output


DAMAGES = [{"inputs": []}, {"inputs": 3}, {"inputs": None}, {"inputs": [{}]}, {"inputs": "x"}, {"outputs": 1},
           {"sample_rate": "16000"}, {"sample_rate": -1}, {"sample_rate": 1e300}, {"sample_rate": 2 ** 70},
           {"sample_rate": None}, {"step_seconds": "x"}, {"step_seconds": 0}, {"step_seconds": None},
           {"wav_multiple": -1}, {"wav_multiple": 2 ** 40}, {"wav_multiple": 1.5}, {"branches": 2 ** 40},
           {"branches": []}, {"shortest": -5}, {"shortest": 1e19}, {"format": "1"}, {"format": -1}, {"config": 5},
           {"config": "../net.ini"}, {"config": "/etc/passwd"}, {"config": ""}, {"runtime": 3}, {"raise_quiet": "yes"},
           {"inputs": [{"name": "x", "dtype": "float32", "shape": [None]}]},
           {"inputs": [{"name": "x", "dtype": "float32", "shape": []}]},
           {"inputs": [{"name": "x", "dtype": "float32", "shape": [1, -3]}]},
           {"inputs": [{"name": "x", "dtype": "float32", "shape": [2 ** 31 - 1, 2 ** 31 - 1]}]},
           {"inputs": [{"name": "x\n", "dtype": "float16\n", "shape": [1, None]}]},
           {"gears": {}}, {"gears": [1, "x"]}, {"gears": 5}]


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_description_is_refused_in_one_line(run, graph, tmp_path, step):
    """Of other types, other sizes, without what must be there, no JSON; the line tells to export again."""
    copy, folder = tmp_path / "copy" / "net.mindir", tmp_path / "in"
    copy.parent.mkdir()
    folder.mkdir()
    copy.write_bytes(graph.read_bytes())
    (folder / "a.wav").write_bytes(wav())
    description = json.loads((graph.parent / "inputs.json").read_text())
    texts = [json.dumps(description | damage) for damage in DAMAGES]
    texts += [json.dumps({name: value for name, value in description.items() if name != missing})
              for missing in ("inputs", "outputs", "sample_rate", "step_seconds")]
    texts += ["", "[]", "null", "3", '"x"', "{", "\0", "[" * 10000, json.dumps(description)[:100], "\xff\xfe{}"]
    for text in texts[::step]:
        (copy.parent / "inputs.json").write_bytes(text.encode("latin-1"))
        code, output, _ = run(folder, graph=copy)
        assert_refusal(code, output, copy.parent / "inputs.json", "export")
        assert len(output.splitlines()) == 1, output


def test_a_damaged_graph_is_refused_in_one_line(run, graph, tmp_path):
    """Cut, of another format, a folder."""
    copy, folder = tmp_path / "copy" / "net.mindir", tmp_path / "in"
    copy.parent.mkdir()
    folder.mkdir()
    (folder / "a.wav").write_bytes(wav())
    (copy.parent / "inputs.json").write_bytes((graph.parent / "inputs.json").read_bytes())
    whole = graph.read_bytes()
    contents = [whole[:len(whole) * i // 4] for i in range(4)]
    for content in [*contents, b"\0" * 5000, b"PK\3\4" * 99, b"\x20\0\0\0MSL2" + bytes(500)]:
        copy.write_bytes(content)
        code, output, _ = run(folder, graph=copy)
        assert_refusal(code, output, copy, "CPU")
        assert len(output.splitlines()) == 1, output
    assert_refusal(*run(folder, graph=copy.parent)[:2], copy.parent)
