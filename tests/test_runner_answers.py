"""The C++ runner's answers by embeddings, and libspeechzoo: as Python's, and mistakes in one line."""
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_line, assert_refusal

import ecapatdnn
from ecapatdnn.src.calibration import Calibration, to_record
from ecapatdnn.src.config import Config
from ecapatdnn.src.export import export, verdicts
from ecapatdnn.src.inference import LONGEST
from ecapatdnn.src.scoring import unit
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import load_config

SAMPLES = ROOT / "ecapatdnn" / "samples"
FIRST, SECOND, OTHER = (str(SAMPLES / f"{name}.wav") for name in ("speaker1_a", "speaker1_b", "speaker2"))
EXAMPLES = ROOT / "ascend310_infer" / "examples"
FIXED = 200     # frames


@pytest.fixture(scope="module")
def verifier():
    return ecapatdnn.load(voice_activity=False)    # the program takes recordings as they are


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """{length in frames: the graph of the checkpoint that ships, which takes a waveform}; 0: any length."""
    folder = tmp_path_factory.mktemp("graphs")
    shipped = ROOT / "ecapatdnn" / "pretrained" / "best.ckpt"
    config = dataclasses.replace(load_config(Config, shipped), model_path=str(shipped), input="waveform",
                                 runtime="lite2.0-cpu")
    return {length: export(dataclasses.replace(config, length=length, file_name=str(folder / str(length) / "net")))
            for length in (0, FIXED)}


@pytest.fixture(scope="module")
def main(runner):
    """(exit code, what it printed) of the runner over recordings."""
    def run(graph, *arguments):
        done = subprocess.run([runner, "--mindir_path", graph, "--device_target", "CPU", *arguments],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    return run


def test_verdict_and_embeddings_are_those_of_python(main, graphs, verifier):
    code, output = main(graphs[0], FIRST, SECOND)
    verdict = verifier.verify(FIRST, SECOND)
    assert (code, output) == (0, f"same speaker: score {verdict.score:.3f}, threshold {verdict.threshold:.3f}, "
                                 f"log-likelihood ratio {verdict.llr:+.2f}\n")
    code, output = main(graphs[0], "--json", FIRST, OTHER)
    answer, verdict = json.loads(output), verifier.verify(FIRST, OTHER)
    assert code == 0 and not answer["same"] and answer["files"] == [FIRST, OTHER]
    assert abs(answer["score"] - verdict.score) < 1e-4 and abs(answer["threshold"] - verdict.threshold) < 1e-6
    code, output = main(graphs[0], "--embed", FIRST)
    assert code == 0
    np.testing.assert_allclose(json.loads(output)["embedding"], verifier.embed(FIRST), atol=1e-4)


def test_calibrated_checkpoint_gives_the_ratio_of_python(main, graphs, tmp_path):
    """Its threshold is that of the ratio 0; a calibration of other scores than the graph's is left out."""
    shutil.copytree(ROOT / "ecapatdnn" / "pretrained", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "best.ckpt"
    config = dataclasses.replace(load_config(Config, path), score_crops=0)
    parameters, record = load_checkpoint(path)
    record |= to_record(Calibration(9.5, -4.25, -1.5), config)
    save_checkpoint(path, parameters, **record)
    verdict = ecapatdnn.load(path).verify(FIRST, OTHER)
    assert verdict.llr is not None
    of_crops = {"calibration": record["calibration"] | {"score_crops": 5}}      # as earlier versions fitted them, too
    assert verdicts(record | of_crops, config) == {"threshold": record["threshold"]}
    (tmp_path / graphs[0].name).symlink_to(graphs[0])
    description = json.loads((graphs[0].parent / "inputs.json").read_text())
    description["answer"] |= verdicts(record, dataclasses.replace(config, score_crops=5))
    (tmp_path / "inputs.json").write_text(json.dumps(description))
    code, output = main(tmp_path / graphs[0].name, "--json", FIRST, OTHER)
    answer = json.loads(output)
    assert code == 0 and answer["same"] == verdict.same
    assert abs(answer["llr"] - verdict.llr) < 1e-3 and abs(answer["threshold"] - verdict.threshold) < 1e-6
    assert main(tmp_path / graphs[0].name, FIRST, OTHER)[1].endswith(f", log-likelihood ratio {verdict.llr:+.2f}\n")


def test_each_recording_against_enrolled_voices(main, graphs, verifier, tmp_path):
    """Of two utterances the mean; a file of voices with what is unfit is left as it is."""
    voices = str(tmp_path / "voices.json")
    for name, recordings, count in (("an", (FIRST, SECOND), "2 utterances"), ("她", (OTHER,), "1 utterance")):
        printed = main(graphs[0], "--enrolled", voices, "--enrol", name, *recordings)
        assert printed == (0, f"{voices}: {name} has {count}\n")
    code, output = main(graphs[0], "--enrolled", voices, "--json", OTHER)
    answer = json.loads(output)
    assert code == 0 and (answer["nearest"], answer["same"]) == ("她", True)
    an = unit(verifier.embed([FIRST, SECOND]).sum(axis=0, keepdims=True))[0]
    np.testing.assert_allclose([answer["scores"]["an"], answer["scores"]["她"]], [an @ verifier.embed(OTHER), 1],
                               atol=1e-4)
    known = (tmp_path / "voices.json").read_text(encoding="utf-8")
    for content, named in ((known.replace('"format":1', '"format":2'), "later"), (known[:-9], "--enrol"),
                           (json.dumps({"format": 1, "voices": {"an": [[1.0]]}}), "192"), ("[]", "--enrol"),
                           (json.dumps({"format": 1, "voices": {"an": [[0.0] * 192]}}), "--enrol")):
        (tmp_path / "bad.json").write_text(content, encoding="utf-8")
        for flags in ((), ("--enrol", "an")):
            assert_refusal(*main(graphs[0], "--enrolled", str(tmp_path / "bad.json"), *flags, FIRST), "bad.json", named)
        assert (tmp_path / "bad.json").read_text(encoding="utf-8") == content


def test_two_programs_that_enrol_at_once_keep_both_voices(runner, graphs, tmp_path):
    """Both have looked at the file before either writes it."""
    voices = tmp_path / "voices.json"
    command = [runner, "--mindir_path", graphs[0], "--device_target", "CPU", "--enrolled", voices, "--enrol"]
    with open(tmp_path / "voices.json.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = [subprocess.Popen([*command, name, FIRST], stdout=subprocess.PIPE) for name in ("an", "bo")]
        with pytest.raises(subprocess.TimeoutExpired):
            for program in programs:
                program.wait(5)
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert [program.communicate()[1] or program.returncode for program in programs] == [0, 0]
    assert json.loads(voices.read_text())["voices"].keys() == {"an", "bo"}
    assert os.listdir(tmp_path) == ["voices.json"]


def test_recording_of_more_than_a_minute(main, graphs, verifier, tmp_path):
    """Its frames squared are more than 32 bits count."""
    samples, rate = soundfile.read(FIRST)
    soundfile.write(tmp_path / "long.wav", np.resize(samples, 75 * rate), rate)
    code, output = main(graphs[0], "--embed", str(tmp_path / "long.wav"))
    assert code == 0, output
    np.testing.assert_allclose(json.loads(output)["embedding"], verifier.embed(str(tmp_path / "long.wav")), atol=1e-4)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A recording of more than one part."""
    samples, rate = soundfile.read(FIRST)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.resize(samples, int(1.2 * LONGEST * rate)), rate)
    return str(path)


@pytest.mark.slow
def test_long_recordings_are_the_mean_of_their_parts(main, graphs, verifier, long):
    code, output = main(graphs[0], "--embed", long)
    assert code == 0, output
    np.testing.assert_allclose(json.loads(output)["embedding"], verifier.embed(long), atol=1e-4)


def test_graph_of_a_fixed_length_takes_all_of_a_recording(main, graphs, verifier, tmp_path):
    """Windows of its length, evenly spread to the end; a shorter recording over and over."""
    samples, rate = soundfile.read(FIRST, dtype="float32")
    description = json.loads((graphs[FIXED].parent / "inputs.json").read_text())
    length = description["inputs"][0]["shape"][1]
    repeated = np.resize(samples, 2 * length + 700)
    soundfile.write(tmp_path / "long.wav", repeated, rate, "FLOAT")
    soundfile.write(tmp_path / "short.wav", repeated[:length // 2], rate, "FLOAT")
    code, output = main(graphs[FIXED], "--embed", str(tmp_path / "long.wav"), str(tmp_path / "short.wav"))
    assert code == 0, output
    starts = [0, (length + 700) // 2, length + 700]
    parts = np.stack([verifier.embed(repeated[start:start + length]) for start in starts])
    expected = unit(parts.sum(axis=0, keepdims=True))[0], verifier.embed(np.resize(repeated[:length // 2], length))
    for line, embedding in zip(output.splitlines(), expected, strict=True):
        np.testing.assert_allclose(json.loads(line)["embedding"], embedding, atol=1e-4)


def test_what_does_not_fit_is_refused_in_one_line(main, graphs, tmp_path):
    graph = graphs[0]
    soundfile.write(tmp_path / "short.wav", 0.1 * np.sin(np.arange(99)), 16000)
    (tmp_path / "empty.wav").touch()
    for arguments, names in (([FIRST], ("two", "--embed")), (["--embed"], ("--input_path",)),
                             ([FIRST, "--beam_width", "4"], ("--beam_width", "embedding")),
                             ([FIRST, "--input_path", "x"], ("--input_path",)),
                             ([FIRST, "--enrol", "x"], ("--enrolled",)), (["--stream"], ("--stream", "--streaming")),
                             ([FIRST, "--threshold", "3"], ("--threshold", "3")),
                             *(([FIRST, flag, value], (flag, "embedding", "text")) for flag, value in (
                                 ("--lm_path", "a.arpa"), ("--alpha", "1"), ("--beta", "1"), ("--beam_width", "0"))),
                             ([FIRST, "--sample_rate", "8000"], ("--sample_rate", FIRST, "--stream")),
                             ([FIRST, "--warmup", "0"], ("--warmup", FIRST, "--input_path")),
                             (["--stream", "--embed"], ("--embed", "--stream")),
                             ([FIRST, "--embed", "--threshold", "0.5"], ("--threshold", "--embed")),
                             ([FIRST, "--enrolled", tmp_path / "voices.json", "--enrol", "x", "--threshold", "0.5"],
                              ("--threshold", "--enrol")),
                             ([FIRST, "--enrolled", tmp_path / "voices.json", "--enrol", "caf\udce9"],
                              ("--enrol", "'caf\\xe9'", "UTF-8")),
                             ([FIRST, "--lm_path", "caf\udce9"], ("--lm_path", "'caf\\xe9'", "UTF-8"))):
        assert_refusal(*main(graph, *arguments), *names)
    assert not (tmp_path / "voices.json").exists()
    code, output = main(graph, "--embed", str(tmp_path / "short.wav"), str(tmp_path / "empty.wav"), FIRST)
    assert_line(output, "short.wav", "99", "expected")
    assert_line(output, "empty.wav")
    assert_refusal(code, output, 2, 3)
    assert '"embedding"' in output      # of the third
    description = json.loads((graph.parent / "inputs.json").read_text())
    for change, names in (({"answer": None}, ("answer",)), ({"wav_multiple": 0}, ("--input waveform",)),
                          ({"answer": {"kind": "song", "window": 1}}, ("song",))):
        changed = {name: value for name, value in (description | change).items() if value is not None}
        folder = tmp_path / names[0].strip("-")
        folder.mkdir()
        (folder / graph.name).symlink_to(graph)
        (folder / "inputs.json").write_text(json.dumps(changed))
        assert_refusal(*main(folder / graph.name, "--embed", FIRST), *names)


def test_an_embedding_of_another_size_than_the_description_says_is_refused(main, graphs, tmp_path):
    description = json.loads((graphs[0].parent / "inputs.json").read_text())
    description["outputs"][0]["shape"] = [1, 4000]
    (tmp_path / "inputs.json").write_text(json.dumps(description))
    (tmp_path / graphs[0].name).symlink_to(graphs[0])
    voices = tmp_path / "voices.json"
    voices.write_text(json.dumps({"format": 1, "voices": {"an": [[1.0] + [0.0] * 3999]}}))
    assert_refusal(*main(tmp_path / graphs[0].name, "--enrolled", voices, FIRST), 192, 4000, "export it again")


def test_examples_give_what_the_runner_gives(main, graphs, runner, tmp_path):
    """In C and in Python, of which neither knows the length at the beginning or both do."""
    library = runner.with_name("libspeechzoo.so")
    expected = json.loads(main(graphs[0], "--embed", FIRST)[1])["embedding"]
    subprocess.run([os.environ.get("CC", "cc"), "-std=c99", "-Wall", "-Werror", f"-I{EXAMPLES.parent / 'inc'}",
                    EXAMPLES / "answers.c", "-o", tmp_path / "answers", library, f"-Wl,-rpath,{library.parent}",
                    "-Wl,--allow-shlib-undefined"], check=True)
    samples, rate = soundfile.read(FIRST, dtype="int16")
    for command, stdin in (([tmp_path / "answers", graphs[0], str(rate)], samples.tobytes()),
                           ([sys.executable, EXAMPLES / "answers.py", graphs[0], FIRST, library], b"")):
        done = subprocess.run(command, input=stdin, capture_output=True, check=True)
        np.testing.assert_allclose(json.loads(done.stdout)["embedding"], expected, atol=1e-6)
    done = subprocess.run([tmp_path / "answers", tmp_path / "none.mindir", "16000"], capture_output=True, text=True,
                          check=False)
    assert_refusal(done.returncode, done.stderr, "none.mindir")
