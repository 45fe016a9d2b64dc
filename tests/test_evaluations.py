"""The eval.py of all models: checked before the work, what is done is kept, results reach the screen first."""
import importlib
import json

import numpy as np
import pytest
import soundfile
from helpers.errors import refused

from conv_tasnet import eval as separation
from conv_tasnet.src.config import Config as SeparationConfig
from conv_tasnet.src.evaluation import save_example
from deepspeech2 import eval as recognition
from deepspeech2.src.config import Config as RecognitionConfig
from deepspeech2.src.inference import BatchNetwork
from ecapatdnn import eval as verification
from ecapatdnn.src.config import Config as VerificationConfig
from ecapatdnn.src.inference import Verifier
from utils.audio.audio_file import AudioError
from utils.errors import ContentError, NotFoundError, OutputError

PROGRAMS = {"ecapatdnn": verification, "conv_tasnet": separation, "deepspeech2": recognition}
RATES = {"ecapatdnn": 16000, "conv_tasnet": 8000, "deepspeech2": 16000}
PRINTED = {"ecapatdnn": "EER = ", "conv_tasnet": "Average SISNR improvement: ", "deepspeech2": "Average WER "}
KEPT = {"ecapatdnn": {"scores_cosine.txt", "det.png"}, "deepspeech2": {"texts.csv"},
        "conv_tasnet": {"scores.csv", "1.png", "1_mixture.wav", "1_separated_1.wav", "1_separated_2.wav",
                        "1_true_1.wav", "1_true_2.wav"}}


class Embedder(Verifier):
    """Embeds a file by its length, without a network."""

    def __init__(self, config):
        self.config, self.cache, self.fewest, self.calibration = config, None, 4000, None

    def run(self, recording, rate=16000):
        return np.array([[1, self.open(recording, rate).samples % 977]], np.float32)


class Separator:
    """Hears the mixture in both speakers."""

    def run(self, mixture):
        return np.stack((mixture, mixture[::-1]))


class Recognizer(BatchNetwork):
    """Understands A, whatever is said."""

    def __init__(self, config):
        self.config, self.size = config, 2

    def run(self, features, length, size=0):
        return [np.zeros((3, 4), np.float32) for _ in features]

    def decode(self, log_probs):
        return "A"


class Evaluation:
    """An evaluation of six recordings, of fewer than four networks."""

    def __init__(self, model, folder, monkeypatch):
        self.model, self.folder, self.loaded = model, folder, []
        self.module = importlib.import_module(f"{model}.src.evaluation")
        self.run_folder = folder / "run"
        self.run_folder.mkdir()
        numbers = range(1, 7)
        if model == "ecapatdnn":
            for number in numbers:
                self.put(f"{number}.wav", number)
            lines = [f"{int(i % 2 == j % 2)} {i}.wav {j}.wav" for i in numbers for j in numbers if i < j]
            (folder / "list.txt").write_text("\n".join(lines))
            settings = VerificationConfig(eval_list=str(folder / "list.txt"), eval_path=str(folder))
            network = Embedder(settings)
        elif model == "conv_tasnet":
            rows = ["mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"]
            for number in numbers:
                self.put(f"{number}.wav", number)
                self.put(f"{number}b.wav", 10 + number)
                rows.append(f"{number},{number}.wav,1,{number}b.wav,1")
            (folder / "list.csv").write_text("\n".join(rows) + "\n")
            settings = SeparationConfig(eval_dir=str(folder / "list.csv"), eval_path=str(folder), save_examples=1)
            network = Separator()
        else:
            samples = [{"wav_path": self.put(f"{number}.wav", number), "transcript": "A B"} for number in numbers]
            (folder / "list.json").write_text(json.dumps({"root_path": "", "samples": samples}))
            settings = RecognitionConfig(test_manifest=str(folder / "list.json"), labels="_A B")
            network = Recognizer(settings)
        self.config = settings.__class__(**settings.__dict__ | {"model_path": str(self.run_folder / "best.ckpt")})
        monkeypatch.setattr(self.module, "load", lambda config: self.loaded.append(config) or network)

    def put(self, name, seed, seconds=None):
        rate = RATES[self.model]
        length = round((seconds or 0.8 + 0.05 * seed) * rate)
        samples = 0.1 * np.random.default_rng(seed).standard_normal(length)
        soundfile.write(self.folder / name, np.clip(samples, -1, 1), rate)
        return name

    def main(self, **settings):
        return PROGRAMS[self.model].main(self.config.__class__(**self.config.__dict__ | settings))

    def kept(self, folder=None):
        folder = folder or self.run_folder / "eval_list"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(params=PROGRAMS)
def evaluation(request, tmp_path, monkeypatch):
    return Evaluation(request.param, tmp_path, monkeypatch)


def test_results_are_kept_beside_the_checkpoint_or_where_one_says(evaluation, tmp_path, capsys):
    assert evaluation.main()
    assert evaluation.kept() == KEPT[evaluation.model] and PRINTED[evaluation.model] in capsys.readouterr().out
    (tmp_path / "run" / "eval_list").rename(tmp_path / "before")
    assert evaluation.main(output_folder=str(tmp_path / "a" / "b"))
    assert evaluation.kept(tmp_path / "a" / "b") == KEPT[evaluation.model] and not evaluation.kept()


def test_examples_are_those_of_the_last_evaluation(tmp_path, monkeypatch, capsys):
    """But for what no evaluation has written."""
    evaluation = Evaluation("conv_tasnet", tmp_path, monkeypatch)
    folder = tmp_path / "run" / "eval_list"
    folder.mkdir()
    (folder / "2.png").write_text("mine")
    evaluation.main()
    assert evaluation.kept() == KEPT["conv_tasnet"] | {"2.png"} and "1 example: " in capsys.readouterr().out
    (folder / "other.png").write_text("mine")
    evaluation.main(save_examples=0)
    assert evaluation.kept() == {"scores.csv", "other.png"} and "example: " not in capsys.readouterr().out


def test_results_that_cannot_be_kept_still_reach_the_screen(evaluation, tmp_path, capsys):
    """The folder of the checkpoint cannot be written: a file stands where the results would be."""
    (tmp_path / "run" / "eval_list").write_text("")
    assert evaluation.main()
    printed = capsys.readouterr()
    assert PRINTED[evaluation.model] in printed.out
    assert printed.err.count("note: ") == 1 and "--output_folder" in printed.err


def test_an_output_beside_a_silent_source_is_heard_in_the_example_and_an_empty_one_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr("conv_tasnet.src.evaluation.draw_separation", lambda *arguments: None)
    voice = 0.1 * np.random.default_rng(1).standard_normal(8000).astype(np.float32)
    sources, halves = np.stack([voice, np.zeros_like(voice)]), np.stack([voice * (np.arange(8000) < 4000)] * 2)
    halves[1] = voice - halves[0]
    for key, outputs, levels in (("leak", 3 * halves, [0.07, 0.07]), ("none", sources, [0.1, 0.0])):
        save_example(voice, outputs, sources, 8000, tmp_path, key)
        for number, level in enumerate(levels, 1):
            written = soundfile.read(tmp_path / f"{key}_separated_{number}.wav")[0]
            assert np.sqrt(np.mean(np.square(written))) == pytest.approx(level, rel=0.05, abs=1e-6)


def test_a_folder_that_was_asked_for_must_be_writable(evaluation, tmp_path):
    (tmp_path / "a").write_text("")
    with refused(OutputError, tmp_path / "a" / "b", "--output_folder"):
        evaluation.main(output_folder=str(tmp_path / "a" / "b"))
    assert not evaluation.loaded


def test_a_disk_that_is_full_in_the_end_costs_no_result(evaluation, monkeypatch, capsys):
    def write_text(path, _):
        raise OutputError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(evaluation.module, "write_text", write_text)
    with refused(OutputError, "No space left"):
        evaluation.main()
    assert PRINTED[evaluation.model] in capsys.readouterr().out


def test_missing_files_are_counted_before_the_work(evaluation, tmp_path):
    for name in ("2.wav", "4.wav"):
        (tmp_path / name).unlink()
    with refused(AudioError if evaluation.model == "ecapatdnn" else NotFoundError, "2 of", "2.wav", "4.wav"):
        evaluation.main()
    assert not evaluation.kept()


@pytest.mark.parametrize("damage", ["text", "cut", "short"])
def test_files_that_are_unfit_by_their_headers_are_counted_before_the_work(evaluation, tmp_path, damage):
    for name in ("2.wav", "4.wav"):
        if damage == "short":
            evaluation.put(name, 1, seconds=0.0001 if evaluation.model == "conv_tasnet" else 0.01)
        else:
            content = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(b"text" if damage == "text" else content[:-5000])
    if evaluation.model == "conv_tasnet" and damage == "short":
        return      # any length of a mixture can be separated
    with refused(AudioError, "2 of 6", "2.wav", "4.wav"):
        evaluation.main()
    assert not evaluation.kept()


def test_what_turns_out_to_be_unfit_leaves_the_rest_scored(evaluation, tmp_path, capsys):
    """Samples that are not numbers, which no header shows. Of verification the embeddings are kept."""
    rate = RATES[evaluation.model]
    for name in ("2.wav", "4.wav"):
        soundfile.write(tmp_path / name, np.full(rate, np.nan), rate, subtype="FLOAT")
    with refused(AudioError, "2 of 6", "2.wav", "4.wav", "NaN"):
        evaluation.main()
    if evaluation.model != "ecapatdnn":
        assert PRINTED[evaluation.model] in (printed := capsys.readouterr().out) and ": 4 " in printed
        name, = KEPT[evaluation.model] & {"scores.csv", "texts.csv"}
        assert len((tmp_path / "run" / "eval_list" / name).read_text().splitlines()) == 5


@pytest.mark.parametrize("evaluation", ["conv_tasnet", "deepspeech2"], indirect=True)
def test_an_interrupted_evaluation_keeps_what_is_done(evaluation, tmp_path, monkeypatch):
    """Of verification, which goes on where it stopped, the embeddings (tests/test_ecapatdnn_scoring.py)."""
    kind, name = (Separator, "run") if evaluation.model == "conv_tasnet" else (Recognizer, "decode")
    work, done = getattr(kind, name), []

    def interrupted(self, item):
        if len(done) == 4:
            raise KeyboardInterrupt
        return done.append(1) or work(self, item)

    monkeypatch.setattr(kind, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluation.main()
    names = {name for name in evaluation.kept() if name.endswith("csv")}
    assert names == {evaluation.module.PARTIAL}
    assert len((tmp_path / "run" / "eval_list" / evaluation.module.PARTIAL).read_text().splitlines()) == 5


@pytest.mark.parametrize("evaluation", ["ecapatdnn"], indirect=True)
def test_a_cohort_is_looked_at_before_the_work(evaluation, tmp_path):
    (tmp_path / "cohort.txt").write_text("a 1.wav\nb lost.wav\nb gone.wav\n")
    cohort = {"as_norm": True, "cohort_list": str(tmp_path / "cohort.txt"), "cohort_path": str(tmp_path)}
    with refused(AudioError, "2 of 3", "lost.wav", "gone.wav"):
        evaluation.main(**cohort)


@pytest.mark.parametrize("evaluation", ["deepspeech2"], indirect=True)
def test_log_probabilities_of_one_name_are_refused_before_the_work(evaluation, tmp_path):
    manifest = json.loads((tmp_path / "list.json").read_text())
    manifest["samples"].append(manifest["samples"][2])
    (tmp_path / "list.json").write_text(json.dumps(manifest))
    with refused(ContentError, "list.json", "one name"):
        evaluation.main(save_log_probs=True)
    assert not evaluation.loaded
