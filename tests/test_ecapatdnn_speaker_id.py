"""Speaker identification: the split, the x-vector, and speaker_id.py as SpeechBrain's users call it."""
import dataclasses
import re
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import yaml
from helpers.corpora import put, tree
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.programs import copied_at, program, started
from mindspore import Tensor, nn, ops

from ecapatdnn import speaker_id
from ecapatdnn.src.config import CropSettings
from ecapatdnn.src.features import filter_bank
from ecapatdnn.src.identification import (
    DILATIONS,
    KERNELS,
    Classifier,
    SpeakerId,
    Xvector,
    epoch_line,
    evaluate,
    likelihood_and_error,
    number,
)
from ecapatdnn.src.model import EcapaTdnn
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from ecapatdnn.src.speaker_split import PARTS, find_speakers, prepare, split, with_room_noises
from utils.audio import audio_file
from utils.checkpoints.checkpoint import load_checkpoint, load_into
from utils.config import load_config, parse_config, parse_train_config
from utils.device import Device
from utils.errors import ContentError, MismatchError, NotFoundError, OutputError, SettingError
from utils.launching.jobs import cluster_jobs
from utils.training.schedules import linear
from utils.training.state import parameters
from utils.training.train_step import adapt

EPOCH = re.compile(r"Epoch: (\d+), lr: (\d\.\d\de-\d\d) - train loss: (\S+) - valid loss: (\S+), valid error: (\S+)")
TEST = re.compile(r"Epoch loaded: (\d+) - test loss: (\S+), test error: (\S+)")
NUMBER = re.compile(r"\d\d?\.\d\d|\d\.\d\de[-+]\d\d")


@pytest.fixture(scope="module")
def folder(mini_corpus, tmp_path_factory):
    """Four speakers of 13 utterances, in the order speaker/chapter/file."""
    top = tmp_path_factory.mktemp("speakers")
    for speaker in sorted(path.name for path in (mini_corpus / "train").iterdir())[:4]:
        (top / speaker).mkdir()
        (top / speaker / "1").symlink_to(mini_corpus / "train" / speaker)
    return top


def small(folder, output, **differences):
    return dataclasses.replace(SpeakerIdConfig(), **{
        "data_folder": str(folder), "ckpt_save_dir": str(output), "channels": 16, "mfa_channels": 24, "emb_size": 16,
        "crop": 60, "minibatch_size": 8, "num_epochs": 2, "save_steps": 1, "num_workers": 0, "device_target": "CPU",
        "max_lrate": 0.01} | differences)


@pytest.fixture(scope="module")
def trained(folder, mini_corpus, tmp_path_factory):
    """(config, what it printed) of a finished run, called by the documented names.

    Beside it lies "cut": the run's folder as it was after batch 3 of epoch 2.
    """
    output = tmp_path_factory.mktemp("results") / "run"
    with copied_at(2, 3, output, output.with_name("cut")):
        code, printed = started(
            "ecapatdnn", "speaker_id.py", "--config", str(ROOT / "ecapatdnn" / "configs" / "speaker_id.yaml"),
            f"--data_folder={folder}", f"--output_folder={output}", "--seed=7", "--number_of_epochs=2",
            "--batch_size=8", "--rank_size=1", "--lr=0.01", "--channels=16", "--mfa_channels=24", "--emb_dim=16",
            "--crop=60", "--save_steps=1", "--num_workers=0", "--device_target=CPU",
            f"--musan_path={mini_corpus}/musan", f"--rir_path={mini_corpus}/rir")
    assert code == 0, printed
    return load_config(SpeakerIdConfig, output / "best.ckpt"), printed


# the split

def test_every_speaker_is_split_80_10_10():
    items = [(speaker, f"{speaker}/{i}.wav") for speaker, n in (("a", 40), ("b", 13), ("c", 3)) for i in range(n)]
    parts, few = split([*items, ("d", "d/0.wav"), ("d", "d/1.wav")], seed=1)
    assert few == ["d"]
    assert {part: [sum(one == speaker for one, _ in parts[part]) for speaker in "abc"] for part in PARTS} \
        == {"train": [32, 11, 1], "valid": [4, 1, 1], "test": [4, 1, 1]}
    assert sorted(sum(parts.values(), [])) == sorted(items)         # disjoint, and nothing is lost


def test_the_split_depends_on_the_seed_and_the_speaker_alone():
    items = [(speaker, f"{speaker}/{i}.wav") for speaker in "ab" for i in range(30)]
    parts, _ = split(items, seed=1)
    alone, _ = split(items[30:], seed=1)
    assert split(items, seed=1)[0] == parts != split(items, seed=2)[0]
    assert all([item for item in parts[part] if item[0] == "b"] == alone[part] for part in PARTS)
    assert [path[2:] for who, path in parts["test"] if who == "a"] != [path[2:] for _, path in alone["test"]]


def test_lists_of_mini_librispeech_beside_rirs_noises(tmp_path, capsys):
    """Speakers of LibriSpeech/train-clean-5; RIRS_NOISES is no speaker but what the training is augmented with."""
    for i in range(12):
        put(tmp_path / f"LibriSpeech/train-clean-5/{1088 + i % 2}/9/{1088 + i % 2}-9-{i:04d}.flac", seed=i)
    for name in ("pointsource_noises", "simulated_rirs/smallroom/Room001"):
        put(tmp_path / "RIRS_NOISES" / name / "Room001-1.wav", seed=3)
    config = with_room_noises(small(tmp_path, tmp_path / "out"))
    prepare(config)
    lines = {part: Path(config.list_of(part)).read_text().splitlines() for part in PARTS}
    assert {part: len(found) for part, found in lines.items()} == {"train": 8, "valid": 2, "test": 2}
    assert all(re.fullmatch(r"(108[89]) LibriSpeech/train-clean-5/\1/9/\1-9-\d{4}.flac", line)
               for found in lines.values() for line in found)
    assert "2 speakers: train 8 utterances, valid 2 utterances, test 2 utterances" in capsys.readouterr().out
    assert config.musan_path == f"{tmp_path}/RIRS_NOISES/pointsource_noises"
    assert config.rir_path == f"{tmp_path}/RIRS_NOISES/simulated_rirs"
    given = with_room_noises(small(tmp_path, tmp_path / "out", rir_path="elsewhere"))
    assert (given.musan_path, given.rir_path) == (config.musan_path, "elsewhere")


def test_unusable_files_and_speakers_are_left_out_and_counted(tmp_path, capsys):
    tree(tmp_path / "data", speakers=2, files=4)
    put(tmp_path / "data" / "spk1" / "short.wav", seconds=0.5)
    (tmp_path / "data" / "spk0" / "broken.flac").write_bytes(b"fLaC not at all")
    put(tmp_path / "data" / "lonely" / "0.wav")
    put(tmp_path / "data" / "spk0" / "other_rate.wav", rate=22050)
    config = small(tmp_path / "data", tmp_path / "out")
    prepare(config)
    printed = capsys.readouterr().out
    assert "rejected: 3 of 12 files, see" in printed
    assert "1 speakers with fewer than 3 usable utterances are left out: lonely" in printed
    lists = {part: Path(config.list_of(part)).read_text() for part in PARTS}
    assert [lists[part].count("\n") for part in PARTS] == [4, 2, 2]
    assert len((tmp_path / "out" / "rejected.txt").read_text().splitlines()) == 3
    prepare(dataclasses.replace(config, resample=True))
    assert "rejected: 2 of 12" in capsys.readouterr().out
    assert "other_rate" in "".join(Path(config.list_of(part)).read_text() for part in PARTS)


def test_a_continued_run_keeps_its_lists(tmp_path):
    tree(tmp_path / "data", speakers=2, files=12)
    config = small(tmp_path / "data", tmp_path / "out")
    prepare(config)
    before = [Path(config.list_of(part)).read_text() for part in PARTS]
    put(tmp_path / "data" / "spk0" / "new.wav", seed=77)
    prepare(dataclasses.replace(config, resume=config.ckpt_save_dir))
    assert [Path(config.list_of(part)).read_text() for part in PARTS] == before
    prepare(config)
    assert [Path(config.list_of(part)).read_text() for part in PARTS] != before


# the network

def test_parameters_of_the_template():
    """custom_model.py layer by layer; 28 speakers."""
    xvector = 512 * (5 * 23 + 1) + 2 * 512 * (3 * 512 + 1) + (512 + 1500) * (512 + 1) + 2 * (4 * 512 + 1500) \
        + 512 * (3000 + 1)
    classifier = 2 * 512 + 512 * 513 + 2 * 512 + 28 * 513
    assert sum(one.size for one in Xvector().trainable_params()) == xvector == 4_209_044
    assert sum(one.size for one in Classifier(512, 28).trainable_params()) == classifier == 279_068
    whole = SpeakerId(SpeakerIdConfig(), 28).trainable_params()
    assert sum(one.size for one in whole) == xvector + classifier and len({one.name for one in whole}) == len(whole)


def random_network():
    """A small x-vector with statistics of BatchNorm as after training."""
    model, generator = Xvector(6, 8, 5, 7), np.random.default_rng(0)
    for one in model.get_parameters():
        value = generator.uniform(0.5, 1.5, one.shape) if "norm" in one.name else generator.normal(0, 0.4, one.shape)
        one.set_data(Tensor(value.astype(np.float32)))
    return model.set_train(False)


@pytest.mark.usefixtures("pynative")
def test_xvector_equals_its_layers_in_numpy():
    model = random_network()
    x = features = np.random.default_rng(1).standard_normal((11, 6)).astype(np.float32)
    for block, kernel, dilation in zip(model.blocks, KERNELS, DILATIONS, strict=True):
        weight, bias = block.conv.weight.asnumpy()[:, :, 0], block.conv.bias.asnumpy()
        side, frames = dilation * (kernel - 1) // 2, len(x)
        padded = np.pad(x, ((side, side), (0, 0)), mode="reflect") if side else x
        x = bias + sum(padded[k * dilation:k * dilation + frames] @ weight[:, :, k].T for k in range(kernel))
        x = np.where(x > 0, x, 0.01 * x)
        gamma, beta, mean, variance = [one.asnumpy() for one in (
            block.norm.gamma, block.norm.beta, block.norm.moving_mean, block.norm.moving_variance)]
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    pooled = np.concatenate((x.mean(axis=0), x.std(axis=0, ddof=1) + 1e-5))
    expected = model.fc.weight.asnumpy() @ pooled + model.fc.bias.asnumpy()
    np.testing.assert_allclose(model(Tensor(features[None])).asnumpy()[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("pynative")
def test_a_padded_batch_gives_what_each_utterance_gives_alone():
    model, lengths = random_network(), [9, 25]
    x = np.random.default_rng(2).standard_normal((2, 25, 6)).astype(np.float32)
    found = model(Tensor(x), Tensor(lengths, ms.int32)).asnumpy()
    for row, one, length in zip(found, x, lengths, strict=True):
        np.testing.assert_allclose(row, model(Tensor(one[None, :length])).asnumpy()[0], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_eight_utterances_are_learnt_by_heart():
    """Through the classifier and its loss; every parameter gets a gradient."""
    ms.set_seed(0)
    model = SpeakerId(small("", "", emb_size=24), 4).set_train()
    x = Tensor(np.random.default_rng(0).standard_normal((8, 40, 23)).astype(np.float32))
    speaker = Tensor(np.arange(8) % 4, ms.int32)
    optimizer = nn.Adam(model.trainable_params(), 0.01)

    def objective():
        return likelihood_and_error(model(x), speaker)

    gradients = ms.value_and_grad(objective, None, optimizer.parameters, has_aux=True)

    @ms.jit
    def step():
        (loss, error), found = gradients()
        energy = ops.stack([one.abs().sum() for one in found])
        return ops.depend(loss, optimizer(found)), error, energy

    results = [step() for _ in range(40)]
    assert np.isfinite(results[0][2].asnumpy()).all() and (results[0][2].asnumpy() > 0).all()
    assert float(results[0][0]) > 1 and float(results[-1][0]) < 0.05 and float(results[-1][1]) == 0


@pytest.mark.usefixtures("pynative")
def test_likelihood_and_error_of_known_probabilities():
    probabilities = Tensor(np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]).astype(np.float32))
    loss, error = likelihood_and_error(probabilities, Tensor([0, 2], ms.int32))
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2, rel=1e-5) and float(error) == 0.5


@pytest.mark.usefixtures("pynative")
def test_network_ecapa_is_the_one_of_verification():
    """And runs in mixed precision, through functions of its own module."""
    config = small("", "", network="ecapa", auto_mix_prec=True)
    model = SpeakerId(config, 4).set_train(False)
    assert adapt(model, config, Device("CPU")).level == "O1"
    found = model(Tensor(np.random.default_rng(0).standard_normal((2, 20, 23)).astype(np.float32))).asnumpy()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    assert type(model.embedding) is EcapaTdnn
    assert sum(one.size for one in model.embedding.get_parameters()) \
        == sum(one.size for one in EcapaTdnn(23, 16, 16, 24, "speechbrain").get_parameters())


# settings and lines

def test_documented_flags(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = parse_train_config(SpeakerIdConfig, [])
    assert config.data_folder == "./data" and config.ckpt_save_dir == "./results/speaker_id/1986"
    assert (config.num_epochs, config.minibatch_size, config.rank_size, config.auto_mix_prec) == (5, 64, 1, False)
    config = parse_config(SpeakerIdConfig, [
        "--seed", "3", "--rank_size", "8", "--number_of_epochs", "6", "--data_folder", "d", "--batch_size", "32",
        "--auto_mix_prec"])
    assert (config.seed, config.rank_size, config.num_epochs, config.minibatch_size) == (3, 8, 6, 32)
    assert (config.amp_level, config.loss_scale, config.ckpt_save_dir) == ("O1", 128, "./results/speaker_id/3")
    assert parse_config(SpeakerIdConfig, ["--output_folder", "o"]).list_of("test") == "o/test.txt"
    preset = parse_config(SpeakerIdConfig, ["--config", str(ROOT / "ecapatdnn" / "configs" / "speaker_id.yaml")])
    assert (preset.num_epochs, preset.minibatch_size, preset.network) == (5, 64, "xvector")


def test_crops_are_made_as_the_settings_say():
    """Each setting of a crop that speaker_id.py has arrives in its data set."""
    settings = {"in_channels": 11, "front_end": "kaldi", "class_num": 7, "musan_path": "noise", "rir_path": "rooms",
                "resample": True, "crop": 77, "crops_per_epoch": 99, "spec_augment": True, "minibatch_size": 3,
                "seed": 5}
    names = {field.name for field in dataclasses.fields(SpeakerIdConfig)}
    assert set(settings) == names & {field.name for field in dataclasses.fields(CropSettings)}
    crops = SpeakerIdConfig(data_folder="data", ckpt_save_dir="run", **settings).crops()
    assert crops == CropSettings(train_list="run/train.txt", train_path="data", **settings)


def test_the_rate_falls_in_a_line_over_the_epochs():
    config = SpeakerIdConfig()
    schedule = linear(config.max_lrate, config.base_lrate, config.num_epochs, updates=10)
    assert [schedule(update) for update in (0, 9, 10, 25, 39, 49, 50)] == pytest.approx(
        [1e-3, 1e-3, 7.75e-4, 5.5e-4, 3.25e-4, 1e-4, 1e-4])
    assert linear(1e-3, 1e-4, epochs=1, updates=10)(9) == 1e-3


def test_lines_are_written_as_documented():
    row = {"epoch": "1", "learning_rate": "0.001", "loss": "2.7", "valid_loss": "3.3912", "valid_error": "0.9471"}
    assert epoch_line(row) == "Epoch: 1, lr: 1.00e-03 - train loss: 2.70 - valid loss: 3.39, valid error: 9.47e-01"
    assert epoch_line(row | {"valid_loss": "", "valid_error": ""}) == "Epoch: 1, lr: 1.00e-03 - train loss: 2.70"
    assert [number(one) for one in (0, 0.0346, 1, 99.5, 250)] == ["0.00e+00", "3.46e-02", "1.00e+00", "99.50",
                                                                  "2.50e+02"]


# the whole chain

def test_run_prints_the_documented_lines_and_keeps_them(trained):
    config, printed = trained
    lines = [line for line in printed.splitlines() if line.startswith("Epoch")]
    matches = [EPOCH.fullmatch(line) for line in lines[:2]]
    assert len(lines) == 3 and [match[1] for match in matches] == ["1", "2"]
    assert [match[2] for match in matches] == ["1.00e-02", "1.00e-04"]
    assert all(NUMBER.fullmatch(text) for match in matches for text in match.groups()[2:])
    test = TEST.fullmatch(lines[2])
    assert test[1] in "12" and NUMBER.fullmatch(test[2]) and float(test[3]) in (0, 0.25, 0.5, 0.75, 1)
    output = Path(config.ckpt_save_dir)
    assert (output / "train_log.txt").read_text().splitlines() == lines
    assert "augmentation one of: none, reverberation, noise, music, babble" in printed
    assert sorted(path.name for path in (output / "save").iterdir()) == ["epoch_0001.ckpt", "epoch_0002.ckpt"]
    assert all((output / name).is_file() for name in (
        "best.ckpt", "curves.png", "train.log", "metrics.csv", "last/state.ckpt", *(f"{part}.txt" for part in PARTS)))
    assert yaml.safe_load((output / "config.yaml").read_text())["seed"] == 7
    assert [len((output / f"{part}.txt").read_text().splitlines()) for part in PARTS] == [44, 4, 4]


def test_test_scores_are_those_of_the_files_one_by_one(trained):
    """Computed here from the files themselves, with the weights of the epoch that the last line names."""
    config, printed = trained
    model = SpeakerId(config, 4)
    load_into(Path(config.ckpt_save_dir, "save", f"epoch_{int(TEST.search(printed)[1]):04d}.ckpt"), parameters(model))
    error, loss = evaluate(model, config, "test", Device("CPU"))
    assert (number(loss), number(error)) == TEST.search(printed).groups()[1:]
    rows = []
    lines = [line.split() for line in Path(config.list_of("test")).read_text().splitlines()]
    for _, path in lines:
        features = filter_bank(audio_file.read(f"{config.data_folder}/{path}", 16000), "speechbrain", 23)
        rows.append(model.set_train(False)(Tensor(features[None])).asnumpy()[0])
    names = sorted({speaker for speaker, _ in lines})
    own = [row[names.index(speaker)] for row, (speaker, _) in zip(rows, lines, strict=True)]
    assert -np.mean(own) == pytest.approx(loss, rel=1e-4)
    assert np.allclose(np.exp(rows).sum(axis=1), 1, atol=1e-5)


def test_an_interrupted_run_is_continued_with_the_same_numbers(trained):
    """A copy of the run folder as it is after batch 3 of epoch 2 ends as the run itself does."""
    whole = Path(trained[0].ckpt_save_dir)
    cut = whole.with_name("cut")
    assert (cut / "last" / "state.ckpt").exists() and not (cut / "save" / "epoch_0002.ckpt").exists()
    assert speaker_id.main(parse_train_config(SpeakerIdConfig, ["--resume", str(cut)])).updates == 10
    logs = [[float(one) for one in re.findall(r"\d[\d.e+-]*", (run / "train_log.txt").read_text())]
            for run in (cut, whole)]
    np.testing.assert_allclose(logs[0], logs[1], rtol=0.02)         # three digits, the last may round otherwise
    assert [len(log) for log in logs] == [13, 13]
    found, expected = [load_checkpoint(run / "save" / "epoch_0002.ckpt")[0] for run in (cut, whole)]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_rank_size_starts_as_many_processes(folder, tmp_path, monkeypatch):
    """With mixed precision; the lists are made once."""
    monkeypatch.chdir(tmp_path)
    code, printed = program(
        "ecapatdnn", "speaker_id.py", f"--data_folder={folder}", "--output_folder=out", "--rank_size=2",
        "--auto_mix_prec", "--number_of_epochs=1", "--batch_size=8", "--channels=8",
        "--mfa_channels=8", "--emb_dim=8", "--crop=30", "--num_workers=0", "--device_target=CPU")
    assert code == 0, printed
    assert printed.count("4 speakers: train 44 utterances") == 1
    assert "2 batches of 8 an epoch, O1 on 2 x CPU" in printed
    assert len(EPOCH.findall(printed)) == len(TEST.findall(printed)) == 1
    assert "Epoch" not in (tmp_path / "train_parallel1" / "train.log").read_text()


def test_processes_of_rank_size(monkeypatch, tmp_path):
    """On Ascends each has its own device; one that a launcher started starts no others."""
    jobs = cluster_jobs(["python", "x.py"], 8, "Ascend", tmp_path)
    assert [job.environment.get("DEVICE_ID") for job in jobs] == [None, *"01234567"]
    assert [job.environment["MS_ROLE"] for job in jobs] == ["MS_SCHED"] + 8 * ["MS_WORKER"]
    assert all(job.command == ["python", "x.py"] for job in jobs[1:])
    called = []
    monkeypatch.setattr(speaker_id, "main", called.append)
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    config = small(tmp_path, tmp_path, rank_size=8)
    speaker_id.start(config)
    assert called == [config]


MISTAKES = {
    "no folder": ({"data_folder": "nowhere"}, NotFoundError, ["data_folder: nowhere", "speaker/**/audio"]),
    "empty folder": ({"data_folder": "empty"}, NotFoundError, ["data_folder: empty", "0 audio files"]),
    "no speakers": ({"data_folder": "flat"}, NotFoundError, ["data_folder: flat", "1 audio files"]),
    "one speaker": ({"data_folder": "one"}, NotFoundError, ["data_folder: one", "one speaker", "(only)"]),
    "few utterances": ({"data_folder": "few"}, ContentError, ["few", "1 of 2 speakers", "3 usable utterances"]),
    "no readable file": ({"data_folder": "broken"}, ContentError, ["broken", "all 6 files", "broken/spk0/0.wav"]),
    "batch": ({"minibatch_size": 64}, MismatchError, ["minibatch_size: 64", "44 crops"]),
    "network": ({"network": "xvectr"}, SettingError, ["network", "'xvectr'", "xvector, ecapa"]),
    "class count": ({"class_num": 28}, MismatchError, ["class_num: 28", "train.txt", "4 speakers"]),
    "rank_size": ({"rank_size": 0}, SettingError, ["rank_size", 0, 1]),
    "output": ({"ckpt_save_dir": "flat/0.wav"}, OutputError, ["output_folder", "flat/0.wav", "File exists"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused_in_one_line(folder, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    put(Path("flat/0.wav"))
    tree(Path("one"), speakers=1, files=4)
    Path("one/spk0").rename("one/only")
    tree(Path("few"), speakers=1, files=3)
    put(Path("few/other/0.wav"))
    for name in (f"broken/spk{i % 2}/{i}.wav" for i in range(6)):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"not a wav")
    differences, kind, facts = MISTAKES[mistake]
    with refused(kind, *facts):
        speaker_id.start(small(folder, "out", **differences))
    assert not Path("out/best.ckpt").exists()


def test_librispeech_is_found_at_any_depth(tmp_path):
    for path in ("84/1/84-1-0.wav", "85/1/85-1-0.wav", "notes/0.wav"):
        put(tmp_path / path)
    assert find_speakers(small(tmp_path, "out")) == [("84", "84/1/84-1-0.wav"), ("85", "85/1/85-1-0.wav")]


def test_nothing_of_torch_is_needed():
    """The document installs torch and torchaudio, and what its requirement.txt lists."""
    names = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(), re.M)
    assert "mindspore" in names and not [name for name in names if "torch" in name or "speechbrain" in name]


@pytest.mark.parametrize("name, speakers, files, least", [
    ("dev_clean", 20, (1071, 121, 121), 0.9), ("mini_librispeech", 28, (1239, 140, 140), 0.9062),
    ("mini_librispeech_eight", 28, (1239, 140, 140), 0.85)])
def test_accuracy_is_as_shown(name, speakers, files, least):
    """The log in results/ and what docs/speaker_id.md says of it agree."""
    results = ROOT / "ecapatdnn" / "results" / f"speaker_id_{name}"
    log = (results / "train.txt").read_text()
    assert "{} speakers: train {} utterances, valid {} utterances, test {} utterances".format(speakers, *files) in log
    epochs, test = EPOCH.findall(log), TEST.findall(log)
    assert len(test) == 1 and int(test[0][0]) in range(1, len(epochs) + 1)
    accuracy = 1 - float(test[0][2])
    for document in ("speaker_id.md", "speaker_id_CN.md"):
        assert f" {accuracy:.4f}" in (ROOT / "docs" / document).read_text(encoding="utf-8")
    assert accuracy >= least
    assert (results / "curves.png").stat().st_size > 5000
