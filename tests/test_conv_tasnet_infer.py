"""Using Conv-TasNet: windows of long recordings, streaming, levels, files in and out, and the program infer.py."""
import dataclasses
import os
import tracemalloc
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.errors import assert_refusal, refused
from helpers.programs import started
from mindspore import Tensor

from conv_tasnet import infer
from conv_tasnet.src import windows
from conv_tasnet.src.config import Config
from conv_tasnet.src.inference import MixtureNetwork, Separator, load
from conv_tasnet.src.level import Level, levelled
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.outputs import output_paths, write_speakers
from conv_tasnet.src.streaming import Stream
from conv_tasnet.src.windows import Windows, window_sizes
from utils.audio.audio_file import AudioError
from utils.audio.recording import inspect
from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import checkpoint_config, save_config
from utils.errors import MismatchError, OutputError, SettingError, run

SMALL = dataclasses.replace(Config(), N=16, L=8, B=8, H=12, Sc=8, X=2, R=1)
KAITUOXU = {"variant": "kaituoxu", "Sc": 0}
RATE = SMALL.sample_rate


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def network(**differences):
    """A small network whose gains, biases, slopes and statistics all matter: the same one for the same settings."""
    ms.set_seed(0)
    generator = np.random.default_rng(0)
    config = dataclasses.replace(SMALL, **differences)
    model = ConvTasNet(config)
    for parameter in model.get_parameters():
        if parameter.name.endswith(("gain", "bias", "slope", "gamma", "beta", "moving_mean", "moving_variance")):
            parameter.set_data(Tensor(generator.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    return model.set_train(False), config


def halves(mixture):
    """A network that separates without context: what is above zero, and what is below."""
    return np.stack((np.maximum(mixture, 0), np.minimum(mixture, 0)))


def blocks_of(samples, size=1000):
    return (samples[i:i + size] for i in range(0, len(samples), size))


def joined(pieces):
    """(mixture, speakers) of all pieces end to end."""
    mixtures, speakers = zip(*pieces, strict=True)
    return np.concatenate(mixtures), np.concatenate(speakers, 1)


# streaming


@pytest.mark.parametrize("norm, settings", [
    ("cLN", KAITUOXU), ("cgLN", {}), *(pytest.param(norm, settings, marks=pytest.mark.slow) for norm, settings in (
        ("cLN", {}), ("cgLN", KAITUOXU), ("BN", {}), ("BN", KAITUOXU)))])
def test_streaming_equals_the_whole_output(norm, settings):
    """In whatever blocks the samples come: then to the last bit."""
    model, config = network(norm=norm, causal=True, **settings)
    stream = Stream(model, config, seconds=0.01)
    expected = {length: MixtureNetwork(model, config).run(noise(length)) for length in (3003, 1040, 5)}
    for length, sizes in ((3003, (1, 79, 500, 3003)), (1040, (80, 1040)), (5, (5, 2))):
        found = []
        for size in sizes:
            parts = []
            for _, speakers in stream.separate(blocks_of(noise(length), size)):
                parts.append(speakers)
                assert len(stream.stepper.held) <= stream.stepper.steps.window + size      # it remembers no more
            found.append(np.concatenate(parts, 1))
            np.testing.assert_array_equal(found[-1], found[0])
        np.testing.assert_allclose(found[0], expected[length], rtol=0, atol=1e-5)
    assert np.abs(expected[3003]).max() > 0.05 and not list(stream.separate([]))
    assert model.encoder.weight.name == "encoder.weight"                       # checkpoints of it stay as they were


@pytest.fixture(scope="module")
def smallest_steps():
    return Stream(*network(norm="cgLN", causal=True), seconds=0)


def test_output_depends_on_nothing_after_its_latency(smallest_steps):
    stream, samples, stride = smallest_steps, noise(200), SMALL.L // 2
    assert stream.latency == SMALL.L - 1
    output = joined(stream.separate([samples]))[1]
    for t in (0, 4, 101, 188):
        changed = samples.copy()
        changed[t + stream.latency + 1:] += 1
        np.testing.assert_array_equal(joined(stream.separate([changed]))[1][:, :t + 1], output[:, :t + 1])
        changed[t + stream.latency - t % stride] += 1    # at the start of a stride, all of it is used
        after = joined(stream.separate([changed]))[1]
        assert (after[:, t - t % stride] != output[:, t - t % stride]).all()


def test_every_sample_comes_back_within_the_latency(smallest_steps):
    returned, delays = 0, []
    smallest_steps.stepper.reset()
    for received, sample in enumerate(noise(100), 1):
        returned += sum(rows.shape[2] for rows in smallest_steps.stepper.push(sample[None]))
        delays.append(received - returned)
    assert max(delays) == smallest_steps.latency


def test_a_network_that_looks_ahead_cannot_stream():
    with refused(MismatchError, "stream", "--causal true"):
        Stream(*network())


def test_stream_pairs_mixture_and_speakers(smallest_steps):
    samples = noise(1003)
    mixture, speakers = joined(smallest_steps.separate(blocks_of(samples, 77)))
    np.testing.assert_array_equal(mixture, samples)
    assert speakers.shape == (2, 1003)


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_speakers_come_while_the_mixture_arrives(smallest_steps, monkeypatch, rate):
    """As long as it, each at the level that fits what has arrived."""
    separator = Separator(*network(norm="cgLN", causal=True))
    monkeypatch.setattr(separator, "stream", lambda seconds: smallest_steps)
    pieces, samples = [], noise(2003)

    def arriving():
        arrived = 0
        for block in blocks_of(samples, 500):
            behind = arrived - sum(piece.shape[1] for piece in pieces)
            assert 0 <= behind <= smallest_steps.latency or rate != RATE and behind >= 0
            arrived += len(block)
            yield block

    for piece in separator.separate_stream(arriving(), rate):
        pieces.append(piece)
    speakers = np.concatenate(pieces, 1)
    assert speakers.shape == (2, 2003) and speakers.dtype == np.float32
    if rate == RATE:
        raw = joined(smallest_steps.separate([samples]))[1]
        level = Level(2)
        level.add(samples, raw)
        np.testing.assert_allclose(pieces[-1], (level.gains()[:, None] * raw)[:, -pieces[-1].shape[1]:], atol=1e-5)
    with refused(AudioError, "int32"):
        list(separator.separate_stream([np.zeros(500, np.int32)]))
    for call in (separator.separate, separator.separate_stream):
        with refused(SettingError, "rate", "found 0", "1000 to 768000"):
            call(samples, 0)
    with refused(MismatchError, "stream", "--causal true"):
        Separator(*network()).separate_stream([samples])


# levels


def test_level_finds_gain_and_polarity_of_each_speaker():
    sources = np.stack([noise(8000, seed) for seed in range(3)])
    outputs = np.array([[0.5], [-1.5], [1.0]]) * sources
    np.testing.assert_allclose(levelled(sources.sum(0), outputs), sources, atol=0.005 * np.abs(sources).max())
    level = Level(3)
    for start in range(0, 8000, 1000):
        here = slice(start, start + 1000)
        level.add(sources.sum(0)[here], outputs[:, here])
    np.testing.assert_allclose(level.gains(), [2, -1 / 1.5, 1], rtol=0.005)
    np.testing.assert_allclose(level.decibels(), 10 * np.log10([1 / 3] * 3), atol=0.2)


def test_level_does_not_blow_up_an_output_that_holds_nobody():
    speaker = noise(8000)
    outputs = np.stack((speaker + 0.1 * noise(8000, 1), 1e-4 * noise(8000, 1)))
    quiet = levelled(speaker, outputs)[1]
    level = Level(2)
    level.add(speaker, outputs)
    assert level.decibels()[1] < -60 and abs(level.decibels()[0]) < 0.1
    assert np.abs(quiet).max() < 1e-4        # without the ridge it would be -0.1 * noise
    assert not levelled(speaker, np.zeros((2, 8000), np.float32)).any()


# windows


@pytest.mark.parametrize("length", [1, 399, 400, 401, 403, 700, 701, 1000, 1003, 5001])
@pytest.mark.parametrize("block", [90, 1000])
def test_windows_cover_each_sample_once_and_have_full_size(length, block):
    samples, sizes = noise(length), []

    def separate(mixture):
        sizes.append(len(mixture))
        return halves(mixture)

    mixture, speakers = joined(Windows(separate, 400, 100, 4).separate(blocks_of(samples, block)))
    np.testing.assert_array_equal(mixture, samples)
    assert speakers.shape == (2, length)
    assert all(400 - 4 < size <= 400 for size in sizes) or sizes == [length]
    np.testing.assert_allclose(speakers, halves(samples), atol=3e-3)


@pytest.mark.parametrize("speakers", [2, 3])
def test_speakers_keep_their_order_whatever_the_network_does(speakers):
    """Each window comes in an order of its own, and each output has a level and a polarity of its own."""
    generator, orders = np.random.default_rng(0), set()
    gains = np.array([[-0.4], [1.5], [0.7]])[:speakers]

    def parts(mixture):
        if speakers == 2:
            return halves(mixture)
        return np.stack((np.maximum(mixture - 0.05, 0), np.minimum(mixture + 0.05, 0), np.clip(mixture, -0.05, 0.05)))

    def separate(mixture):
        order = generator.permutation(speakers)
        orders.add(tuple(order))
        return (gains * parts(mixture)[order]).astype(np.float32)

    samples = noise(20000)
    _, separated = joined(Windows(separate, 800, 200, 4).separate(blocks_of(samples)))
    expected = parts(samples)
    order = np.argmax(separated[:, :400] @ expected[:, :400].T, axis=1)
    assert len(orders) == (2 if speakers == 2 else 6) and sorted(order) == list(range(speakers))
    np.testing.assert_allclose(separated, expected[order], atol=5e-3)


@pytest.fixture(scope="module")
def framewise():
    """A network with a norm per frame, which sees 3 frames, so at most 20 samples, to either side: (windows, whole)."""
    return MixtureNetwork(*network(norm="cLN"), 400).run, MixtureNetwork(*network(norm="cLN")).run


@pytest.mark.parametrize("overlap, beyond", [(100, 0), (8, 20)])
def test_windows_equal_the_whole_up_to_the_cross_fade(framewise, monkeypatch, overlap, beyond):
    """And in it too, where the overlap holds the context of the network beside the cross-fade."""
    monkeypatch.setattr(windows, "levelled", lambda mixture, speakers: speakers.copy())
    separator, whole = framewise
    samples = noise(2003)
    _, separated = joined(Windows(separator, 400, overlap, 4).separate(blocks_of(samples)))
    difference = np.abs(separated - whole(samples)).max(0)
    step, last = 400 - overlap, 1604       # the last window ends with the recording, on a stride
    seams = [start + overlap // 2 for start in range(step, last, step)] + [last // step * step + 400 - overlap // 2]
    near = np.abs(np.arange(2003)[:, None] - seams).min(1) < overlap / 2 + beyond if beyond else np.zeros(2003, bool)
    assert difference[~near].max() < 1e-6 and (not beyond or difference[near].max() > 1e-3)


def test_a_window_fades_in_while_the_one_before_fades_out():
    fade = Windows(halves, 800, 200, 4).fade
    assert not fade[:75].any() and (fade[125:] == 1).all() and (np.diff(fade[74:126]) > 0).all()
    np.testing.assert_allclose(fade + fade[::-1], 1, atol=1e-6)


def test_sizes_of_windows():
    assert window_sizes(16, 10 ** 9, SMALL) == (128000, 32000)
    size, overlap = window_sizes(16, 10 ** 9, dataclasses.replace(SMALL, L=20, sample_rate=11025))
    assert size % 10 == overlap % 10 == 0 and abs(size / 11025 - 16) < 0.01
    assert window_sizes(16, 5001, SMALL)[0] == 5004        # no larger than the longest recording
    for seconds in (0, -1, 0.5, float("nan")):
        with refused(SettingError, "window", seconds, 1):
            window_sizes(seconds, 8000, SMALL)


# files


def put(path, samples, rate, **how):
    soundfile.write(path, samples, rate, **how)
    return str(path)


def through_files(path, folder, separate=halves, stride=4):
    """The peak, and the speakers that are written for the file: (C, n)."""
    recording = inspect(path, SMALL.L, RATE)
    paths = output_paths([path], str(folder), 2)[path]
    windows = Windows(separate, 16000, 4000, stride)
    peak, _ = write_speakers(paths, recording, windows.separate(recording.blocks(RATE)), RATE)
    assert sorted(os.listdir(folder)) == sorted(os.path.basename(one) for one in paths)
    assert all(soundfile.info(one).subtype == "PCM_16" for one in paths)
    found = [soundfile.read(one, dtype="float32") for one in paths]
    assert {rate for _, rate in found} == {recording.rate} and os.stat(paths[0]).st_mode & 0o777 == 0o644
    return peak, np.stack([samples for samples, _ in found])


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.0031, 1.23457, 7.0001])
def test_outputs_have_the_rate_and_length_of_the_input(tmp_path, rate, seconds):
    samples = round(seconds * rate)
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(samples) / rate)
    peak, speakers = through_files(put(tmp_path / "a.wav", tone, rate), tmp_path / "out")
    assert speakers.shape == (2, samples) and peak < 1
    inside = slice(samples // 10, -samples // 10)        # a resampler rings where a recording begins
    np.testing.assert_allclose(speakers.sum(0)[inside], tone[inside], atol=0.01 if seconds > 1 else 0.1)


def test_speakers_that_would_clip_are_turned_down_together(tmp_path):
    samples = np.clip(5 * noise(40000), -0.99, 0.99)
    other = np.sin(np.arange(10 ** 6) / 3).astype(np.float32)

    def separate(mixture):       # louder than the mixture, where they cancel each other
        return np.stack((mixture + other[:len(mixture)], -other[:len(mixture)]))

    peak, speakers = through_files(put(tmp_path / "a.wav", samples, RATE), tmp_path / "out", separate)
    assert 1.5 < peak < 2.1 and 0.999 < np.abs(speakers).max() <= 1
    np.testing.assert_allclose(speakers.sum(0) * peak, samples, atol=0.01)


@pytest.mark.parametrize("error, shown", [(KeyboardInterrupt, KeyboardInterrupt),
                                          (OSError(28, "No space"), OutputError)])
def test_nothing_half_written_is_left(tmp_path, error, shown):
    path = put(tmp_path / "a.wav", noise(40000), RATE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_1.wav").write_bytes(b"old")
    recording = inspect(path, SMALL.L, RATE)

    def pieces():
        yield noise(8000), halves(noise(8000))
        raise error

    with pytest.raises(shown):
        write_speakers(output_paths([path], str(tmp_path / "out"), 2)[path], recording, pieces(), RATE)
    assert os.listdir(tmp_path / "out") == ["a_1.wav"] and (tmp_path / "out" / "a_1.wav").read_bytes() == b"old"


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = {}
    for minutes in (1, 4):
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 16000, 2) as file:
            for second in range(60 * minutes):
                file.write(noise((16000, 2), second))
        tracemalloc.start()
        _, peaks[minutes] = measured(tmp_path)
        tracemalloc.stop()
    # the file of four minutes is 30 MB as float32
    assert peaks[4] < 1.05 * peaks[1] and peaks[4] < 4e6, peaks


def measured(folder):
    recording = inspect(str(folder / "a.wav"), SMALL.L, RATE)
    windows = Windows(halves, 32000, 8000, 4)
    paths = output_paths([recording.path], str(folder / "out"), 2)[recording.path]
    write_speakers(paths, recording, windows.separate(recording.blocks(RATE)), RATE)
    return tracemalloc.get_traced_memory()


def silent(path):
    put(path, np.zeros(RATE), RATE)


def empty(path):
    put(path, np.zeros(0), RATE)


def short(path):
    put(path, noise(15), 2 * RATE)


def text(path):
    path.write_text("no sound\n" * 100)


def missing(path):
    pass


def not_a_number(path):
    put(path, np.where(np.arange(3 * RATE) == 2 * RATE + 5, np.nan, 0.1), RATE, subtype="FLOAT")


def truncated(path):
    put(path, noise(RATE), RATE)
    path.write_bytes(path.read_bytes()[:RATE])


BAD = {silent: ["silent", 1e-05], missing: ["no such"],
       empty: [],       # libsndfile opens such a wav, but no such flac
       short: ["15 samples", "16000 Hz", "8 at 8000 Hz"],
       text: ["not readable"], not_a_number: ["NaN"], truncated: []}


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_bad_file_is_refused_in_one_line(tmp_path, damage, ending):
    if damage == not_a_number and ending == "flac":
        pytest.skip("flac holds no NaN")
    damage(tmp_path / f"a.{ending}")
    with refused(AudioError, tmp_path / f"a.{ending}", *BAD[damage]):
        inspect(str(tmp_path / f"a.{ending}"), SMALL.L, RATE)


def test_the_shortest_recording_fills_one_window_of_the_encoder(tmp_path):
    assert inspect(put(tmp_path / "a.wav", noise(8), RATE), SMALL.L, RATE).samples == 8
    with refused(AudioError, "7 samples", "8 at 8000 Hz"):
        inspect(put(tmp_path / "a.wav", noise(7), RATE), SMALL.L, RATE)


def test_outputs_overwrite_neither_inputs_nor_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(OutputError, tmp_path / "out" / "a_2.wav", "input"):
        output_paths(["a.wav", str(tmp_path / "out" / "a_2.wav")], "out", 2)
    with refused(OutputError, "y/a.flac", tmp_path / "out" / "a_1.wav", "x/a.wav"):
        output_paths(["x/a.wav", "y/a.flac"], "out", 2)
    assert output_paths(["x/a.wav"], "out", 3) == {"x/a.wav": ["out/a_1.wav", "out/a_2.wav", "out/a_3.wav"]}


# the program


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """{whether causal: (best.ckpt of a run folder, its network, its config)}."""
    made = {}
    for causal, norm in ((False, "gLN"), (True, "cgLN")):
        folder = tmp_path_factory.mktemp("run")
        model, config = network(causal=causal, norm=norm)
        save_checkpoint(folder / "best.ckpt", {parameter.name: parameter for parameter in model.get_parameters()})
        save_config(config, folder)
        made[causal] = str(folder / "best.ckpt"), model, config
    return made


def ended(*arguments):
    """The exit code of infer.py."""
    with pytest.raises(SystemExit) as end:
        run(infer.main, [str(argument) for argument in arguments])
    return end.value.code


def test_infer_separates_what_it_can_and_names_the_rest(tmp_path, checkpoints, capfd):
    files = [put(tmp_path / "stereo.wav", noise((30001, 2)), 44100), put(tmp_path / "b.flac", noise(12345), 16000),
             put(tmp_path / "c.wav", noise(8002), 8000), str(tmp_path / "missing.wav"), str(tmp_path / "silent.wav")]
    silent(tmp_path / "silent.wav")
    out, (path, model, config) = tmp_path / "new" / "out", checkpoints[False]
    assert ended(*files, "--checkpoint_path", path, "--output_dir", out) == 2
    assert sorted(os.listdir(out)) == [f"{name}_{i}.wav" for name in ("b", "c", "stereo") for i in (1, 2)]
    for name, rate, length in (("stereo", 44100, 30001), ("b", 16000, 12345), ("c", 8000, 8002)):
        info = soundfile.info(out / f"{name}_2.wav")
        assert (info.samplerate, info.frames, info.channels) == (rate, length, 1)
    printed, errors = capfd.readouterr()
    assert f"{files[0]}: 2 channels, their mean is used\n" in errors and printed.count(" -> ") == 3
    assert f"{files[0]}: 0.7 s at 44100 Hz -> " in printed and f"{files[1]}: 0.8 s at 16000 Hz -> " in printed
    lines = [line for line in errors.splitlines() if line.startswith("error")]
    assert len(lines) == 3 and "missing.wav: no such audio file" in lines[0] and "silent.wav: silent" in lines[1]
    assert "2 of 5 files not separated" in lines[2] and "Traceback" not in errors

    mixture = soundfile.read(files[2], dtype="float32")[0]
    expected = levelled(mixture, MixtureNetwork(model, config).run(mixture))
    actual = np.stack([soundfile.read(out / f"c_{i}.wav", dtype="float32")[0] for i in (1, 2)])
    np.testing.assert_allclose(actual, expected, atol=2e-3 * np.abs(expected).max() + 2 ** -15)


def test_a_recording_in_memory_is_separated_as_its_file(tmp_path, checkpoints):
    path, model, config = checkpoints[False]
    separator = load(checkpoint_config(Config, path))
    for rate, shape in ((RATE, 12001), (2 * RATE, (12001, 2))):
        samples = noise(shape)
        file = put(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
        speakers = separator.separate(samples, rate)
        assert speakers.shape == (2, 12001) and speakers.dtype == np.float32
        np.testing.assert_array_equal(speakers, separator.separate(file))
        infer.main([file, "--checkpoint_path", path, "--output_dir", str(tmp_path / "out")])
        written = np.stack([soundfile.read(tmp_path / "out" / f"a_{i}.wav", dtype="float32")[0] for i in (1, 2)])
        np.testing.assert_allclose(written * max(1, np.abs(speakers).max()), speakers, atol=2 ** -14)
    expected = levelled(noise(9001), MixtureNetwork(model, config).run(noise(9001)))
    np.testing.assert_allclose(separator.separate(noise(9001)), expected, atol=2e-3 * np.abs(expected).max())
    assert set(separator.compiled) == {RATE, 2 * RATE}         # which many lengths share
    for unfit in (np.zeros(RATE, np.float32), noise(7), np.ones(RATE, np.int32), noise(RATE) * np.nan):
        with refused(AudioError):
            separator.separate(unfit)


def test_windows_and_streaming_are_refused_together(tmp_path, capfd):
    code = ended(tmp_path / "x.wav", "--stream", "--window", "4")
    assert_refusal(code, capfd.readouterr().err, "window", "4", "--stream")


@pytest.mark.parametrize("level", [1, 0.01])
def test_infer_streams_a_causal_network(tmp_path, checkpoints, capfd, level):
    """And one so quiet that it is raised where it is not live."""
    mixture = np.float32(level) * noise(20003)
    file = put(tmp_path / "a.wav", mixture, RATE, subtype="FLOAT")
    path, model, config = checkpoints[True]
    infer.main([file, "--stream", "--checkpoint_path", path, "--output_dir", str(tmp_path / "out")])
    expected = levelled(mixture, MixtureNetwork(model, config).run(mixture))
    actual = np.stack([soundfile.read(tmp_path / "out" / f"a_{i}.wav", dtype="float32")[0] for i in (1, 2)])
    np.testing.assert_allclose(actual, expected, atol=2 ** -14)
    assert "raised" not in capfd.readouterr().err
    code = ended(file, "--stream", "--checkpoint_path", checkpoints[False][0], "--output_dir", tmp_path / "out")
    assert_refusal(code, capfd.readouterr().err, "stream", "causal")


@pytest.mark.parametrize("arguments, facts", [
    ([], ["a.wav", "no such"]),          # a checkpoint ships
    (["--checkpoint_path", "nowhere.ckpt"], ["nowhere.ckpt", "no such"]),
    (["--checkpoint_path", "CHECKPOINT"], ["a.wav", "no such"]),
    (["--checkpoint_path", "CHECKPOINT", "--output_dir", "used"], ["used/a_1.wav", "input"]),
])
def test_infer_refuses_a_mistake_in_one_line(tmp_path, checkpoints, capfd, monkeypatch, arguments, facts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "used").mkdir()
    put(tmp_path / "used" / "a_1.wav", noise(RATE), RATE)
    files = ["a.wav", "used/a_1.wav"] if "used" in arguments else ["a.wav"]
    code = ended(*files, *(checkpoints[False][0] if text == "CHECKPOINT" else text for text in arguments))
    _, errors = capfd.readouterr()
    assert_refusal(code, errors, *facts)
    assert errors.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["used"] and os.listdir(tmp_path / "used") == ["a_1.wav"]


def test_infer_tells_where_it_cannot_write(tmp_path, checkpoints, capfd):
    file = put(tmp_path / "a.wav", noise(RATE), RATE)
    code = ended(file, "--checkpoint_path", checkpoints[False][0], "--output_dir", file)
    assert_refusal(code, capfd.readouterr().err, file, "--output_dir")


def test_infer_is_a_program(tmp_path):
    assert started("conv_tasnet", "infer.py", "a.wav")[0] == 2


def test_a_mixture_of_more_than_a_minute_is_run_by_windows(monkeypatch):
    lengths = []

    def compiled_for(_, samples):
        return SimpleNamespace(run=lambda mixture: lengths.append(len(mixture)) or halves(mixture))

    monkeypatch.setattr(Separator, "_compiled_for", compiled_for)
    for seconds, longest in ((60, 60), (61, 16)):
        mixture = noise(seconds * RATE + 1)[:-1]
        lengths.clear()
        np.testing.assert_allclose(Separator(None, SMALL).run(mixture).sum(0), mixture, rtol=2e-3, atol=1e-3)
        assert max(lengths) == longest * RATE
