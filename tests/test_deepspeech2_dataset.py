"""Training batches of DeepSpeech2: shapes, order, what is left out, augmentation, shards."""
import dataclasses
import itertools
import json
import os

import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, assert_named, refused
from helpers.sounds import speech

from deepspeech2.src.config import Config
from deepspeech2.src.dataset import TrainSet, padded_lengths
from deepspeech2.src.features import BINS, RATE, frame_count, spectrogram
from deepspeech2.src.manifest import Sample, write_manifest
from deepspeech2.src.text import Alphabet
from utils.audio.stream import AudioError
from utils.errors import MismatchError, NotFoundError, SettingError

WORDS = ["YES", "NO", "GO ON", "STOP", "ENTER SIX", "HELP ME"]


@pytest.fixture
def corpus(tmp_path):
    """A manifest of 20 utterances of 0.5 to 2.4 s; a function that makes a config for it."""
    rows = []
    for i in range(20):
        samples = np.random.default_rng(i).normal(0, 0.1, 8000 + 1600 * ((7 * i) % 20))
        soundfile.write(tmp_path / f"{i}.wav", samples, RATE)
        rows.append(Sample(f"{i}.wav", "", WORDS[i % len(WORDS)], len(samples) / RATE))
    write_manifest(tmp_path / "train.json", tmp_path, rows)

    def make(**differences):
        values = {"train_manifest": str(tmp_path / "train.json"), "minibatch_size": 4, "buckets": 3}
        return dataclasses.replace(Config(), **(values | differences))
    return make


def batches(train_set, epoch):
    return [train_set.batch(epoch, index)[0] for index in range(train_set.steps)]


def test_batches_have_few_shapes_and_hold_what_was_said(corpus):
    train_set = TrainSet(corpus())
    assert train_set.steps == 5 and len(train_set.lengths) == 3
    alphabet, seen = Alphabet(), []
    for epoch in (1, 2):
        for features, frames, labels, counts in batches(train_set, epoch):
            assert features.shape[1] in train_set.lengths and features.shape[::2] == (4, BINS)
            assert labels.shape == (4, max(map(len, WORDS)))
            for one, length in zip(features, frames, strict=True):
                assert not one[length:].any() and one[:length].any(axis=1).all()
            seen += [alphabet.decode(row[:count]) for row, count in zip(labels, counts, strict=True)]
    assert sorted(seen) == sorted(WORDS[i % len(WORDS)] for i in range(20) for _ in range(2))


def test_features_are_those_of_the_utterance(corpus, tmp_path):
    train_set = TrainSet(corpus())
    features, frames, labels, counts = train_set.batch(1, 0)[0]
    shortest = int(np.argmin(train_set.frames))
    samples, _ = soundfile.read(train_set.path(shortest), dtype="float32")
    np.testing.assert_array_equal(features[0, :frames[0]], spectrogram(samples))
    np.testing.assert_array_equal(labels[0, :counts[0]], train_set.labels[shortest])


def test_the_first_epoch_goes_from_short_to_long_and_later_ones_do_not(corpus):
    train_set = TrainSet(corpus())
    first, second, again = (np.concatenate([frames for _, frames, _, _ in batches(train_set, epoch)])
                            for epoch in (1, 2, 2))
    assert (np.diff(first) >= 0).all() and not (np.diff(second) >= 0).all()
    np.testing.assert_array_equal(second, again)
    assert not np.array_equal(second, np.concatenate([one[1] for one in batches(train_set, 3)]))


def test_ranks_share_an_epoch_without_overlap(corpus):
    whole = TrainSet(corpus(minibatch_size=2))
    ranks = [TrainSet(corpus(minibatch_size=2), rank, 2) for rank in (0, 1)]
    assert whole.steps == 10 and [one.steps for one in ranks] == [5, 5]
    for epoch in (1, 2):
        plans = [one.plan(epoch)[rank::2] for rank, one in enumerate(ranks)]
        assert sorted(np.concatenate(plans).ravel().tolist()) == list(range(20))


def test_what_cannot_be_trained_on_is_left_out_and_counted(corpus, tmp_path):
    text = " ".join(["YES"] * 40)
    rows = [Sample(f"{i}.wav", "", WORDS[0], 0.0) for i in range(10)] + [Sample("0.wav", "", text, 0.0)]
    write_manifest(tmp_path / "train.json", tmp_path, rows)
    train_set = TrainSet(corpus(max_seconds=2.0))
    described = train_set.describe()
    assert train_set.files < 10 and f"{10 - train_set.files} left out, longer than 2 s" in described
    assert "1 left out, too few frames for their labels: " in described
    with refused(MismatchError, tmp_path / "train.json", "none of 11", "11 are longer", "0.1 s"):
        TrainSet(corpus(max_seconds=0.1))


def test_augmentation_is_drawn_again_every_epoch_and_fits_the_shapes(corpus, tmp_path):
    soundfile.write(tmp_path / "noise.flac", np.random.default_rng(9).normal(0, 0.1, 4000), 8000)
    (tmp_path / "noises").mkdir()
    (tmp_path / "noise.flac").rename(tmp_path / "noises" / "noise.flac")
    config = corpus(speeds="0.8,1.25", gain_range=6.0, noise_dir=str(tmp_path / "noises"), mask_from=2)
    train_set = TrainSet(config)
    made = {epoch: batches(train_set, epoch) for epoch in (1, 2)}
    for features, frames, _, _ in itertools.chain(*made.values()):
        assert features.shape[1] in train_set.lengths and (frames <= features.shape[1]).all()
        assert np.isfinite(features).all()
    lengths = {frame_count(8000 + 1600 * k) for k in range(20)}
    assert not set(np.concatenate([frames for _, frames, _, _ in made[1]])) <= lengths      # of other speeds
    masked = [np.isclose(one[:n], 0).all(axis=0).any() or np.isclose(one[:n], 0).all(axis=1).any()
              for features, frames, _, _ in made[2] for one, n in zip(features, frames, strict=True)]
    assert np.mean(masked) > 0.5
    for only in ({"mask_frames": 0}, {"mask_bins": 0}, {"mask_frames": 0, "mask_bins": 0}):
        for features, frames, _, _ in batches(TrainSet(dataclasses.replace(config, **only)), 2):
            for one, n in zip(np.isclose(features, 0), frames, strict=True):
                assert not ("mask_frames" in only and one[:n].all(axis=1).any())
                assert not ("mask_bins" in only and one[:n].all(axis=0).any())
    assert not any((one[:n] == 0).all(axis=1).any() for features, frames, _, _ in made[1]
                   for one, n in zip(features, frames, strict=True))


def test_trimmed_utterances_keep_their_speech_and_what_their_labels_need(corpus, tmp_path):
    rows, quiet = [], np.zeros(RATE, np.float32)
    for i, text in enumerate(["GO ON"] * 7 + ["X" * 90]):        # 179 of the 200 frames of 4 s
        samples = np.concatenate((quiet, speech(2, np.random.default_rng(i)), quiet))
        soundfile.write(tmp_path / f"{i}.wav", samples, RATE)
        rows.append(Sample(f"{i}.wav", "", text, 4.0))
    write_manifest(tmp_path / "train.json", tmp_path, rows)
    seconds = {epoch: np.concatenate([(frames - 1) / 100 for _, frames, _, _ in batches(
        TrainSet(corpus(trim_share=1.0, minibatch_size=1)), epoch)]) for epoch in (1, 2)}
    assert sum(seconds[1] == 4) == sum(seconds[2] == 4) == 1       # the one with many labels
    trimmed = np.sort(np.concatenate((seconds[1], seconds[2])))[:14]
    assert (trimmed > 1.7).all() and (trimmed < 2.8).all() and len(set(trimmed)) > 10
    whole = np.concatenate([frames for _, frames, _, _ in batches(TrainSet(corpus(minibatch_size=1)), 1)])
    assert (whole == frame_count(4 * RATE)).all()


def test_listed_noise_is_that_of_a_folder_and_a_room_changes_what_is_said_in_it(corpus, tmp_path):
    for name, samples in (("noise/a", np.random.default_rng(9).normal(0, 0.1, 4000)), ("rooms/x", [0, 0.5, 0]),
                          ("rooms/y_1", [0.5] + [0] * 800 + [0.4]), ("rooms/y_2", [0.5] + [0] * 900 + [0.4])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    (tmp_path / "noise.txt").write_text("noise/a.wav\n")
    (tmp_path / "rooms.txt").write_text("x rooms/x.wav\ny rooms/y_1.wav\ny rooms/y_2.wav\n")
    listed = corpus(noise_list=str(tmp_path / "noise.txt"), scene_path=str(tmp_path))
    for one, other in zip(batches(TrainSet(listed), 1), batches(TrainSet(corpus(noise_dir=str(tmp_path / "noise"))), 1),
                          strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    in_rooms = corpus(room_list=str(tmp_path / "rooms.txt"), scene_path=str(tmp_path), room_share=1.0)
    same = [np.allclose(dry, wet, atol=1e-3) for plain, roomy in zip(
        batches(TrainSet(corpus()), 1), batches(TrainSet(in_rooms), 1), strict=True)
        for dry, wet in zip(plain[0], roomy[0], strict=True)]
    assert 4 <= sum(same) <= 16     # room x is but a delay, half of the utterances are in it
    assert "noise of 1 recordings" in TrainSet(listed).describe() and "2 rooms" in TrainSet(in_rooms).describe()
    (tmp_path / "rooms/y_2.wav").unlink()
    for config, facts in ((in_rooms, ["1 of 3", "rooms/y_2.wav"]),
                          (dataclasses.replace(listed, scene_path=""), ["1 of 1", "noise/a.wav"])):
        with refused(NotFoundError, config.room_list or config.noise_list, "--scene_path", *facts):
            TrainSet(config)


def test_noise_and_rooms_that_cannot_be_read_are_named_and_others_drawn(corpus, tmp_path, capsys):
    names = [f"{kind}_{state}.wav" for kind in ("noise", "room") for state in ("cut", "whole")]
    for name in names:
        soundfile.write(tmp_path / name, np.random.default_rng(9).normal(0, 0.1, 4000), RATE)
        if "cut" in name:
            os.truncate(tmp_path / name, 1000)
    (tmp_path / "noise.txt").write_text("\n".join(names[:2]))
    (tmp_path / "rooms.txt").write_text("".join(f"{name} {name}\n" for name in names[2:]))
    train_set = TrainSet(corpus(noise_list=str(tmp_path / "noise.txt"), room_list=str(tmp_path / "rooms.txt"),
                                scene_path=str(tmp_path), noise_prob=1.0, room_share=1.0))
    assert [train_set.batch(1, index)[1] for index in range(train_set.steps)] == [{}] * train_set.steps
    named = capsys.readouterr().err
    assert_line(named, tmp_path / "noise_cut.wav", "truncated")
    assert_line(named, tmp_path / "room_cut.wav", "truncated")


def test_a_file_that_is_lost_is_replaced_and_reported(corpus, tmp_path):
    train_set = TrainSet(corpus())
    (tmp_path / "3.wav").write_bytes(b"no sound")
    made = [train_set.batch(1, index) for index in range(train_set.steps)]
    bad = {path: reason for _, one in made for path, reason in one.items()}
    assert list(bad) == [str(tmp_path / "3.wav")] and "not readable as audio" in bad[str(tmp_path / "3.wav")]
    assert all(len(arrays[0]) == 4 for arrays, _ in made)


def test_padded_lengths_waste_the_least():
    generator = np.random.default_rng(0)
    for buckets in (1, 2, 3):
        frames = generator.integers(1, 300, 12)
        rounded = -(-frames // 25) * 25
        choices = itertools.combinations_with_replacement(sorted(set(rounded)), buckets)
        least = min(sum(min(length for length in chosen if length >= one) for one in rounded)
                    for chosen in choices if max(chosen) >= rounded.max())
        found = padded_lengths(frames, buckets)
        assert len(found) <= buckets and list(found) == sorted(found)
        assert sum(min(length for length in found if length >= one) for one in rounded) == least


@pytest.mark.parametrize("settings, kind, facts", [
    ({"speeds": "fast"}, SettingError, ["speeds", "'fast'"]),
    ({"minibatch_size": 50}, MismatchError, ["minibatch_size: 50", "20 utterances"]),
    ({"noise_dir": "nowhere"}, NotFoundError, ["noise_dir", "nowhere"]),
    ({"noise_list": "nowhere"}, NotFoundError, ["nowhere"]),
    ({"room_list": "nowhere"}, NotFoundError, ["nowhere"]),
    ({"labels": "_ABC"}, MismatchError, ["'Y' in 'YES'", "'ABC'", "--labels"])])
def test_mistakes_are_refused(corpus, settings, kind, facts):
    config = dataclasses.replace(corpus(), **settings)
    with refused(kind, *facts):
        TrainSet(config)


def scale_seconds(tmp_path, factor, utterances):
    """Multiplies the seconds of some utterances in the manifest of `corpus`."""
    text = json.loads((tmp_path / "train.json").read_text())
    for i in utterances:
        text["samples"][i]["seconds"] *= factor
    (tmp_path / "train.json").write_text(json.dumps(text))


def test_seconds_in_milliseconds_are_named_before_training(corpus, tmp_path):
    scale_seconds(tmp_path, 1000, range(20))
    with refused(AudioError, tmp_path / "0.wav", "0.50 s", "500 seconds"):
        TrainSet(corpus())


def test_a_file_that_is_a_little_longer_than_its_manifest_says_is_cut(corpus, tmp_path):
    """One of 2.3 s, which is 2.185 s in its manifest: beyond the longest batch."""
    scale_seconds(tmp_path, 0.95, range(20))
    train_set = TrainSet(corpus(max_seconds=2.2))
    assert frame_count(round(2.3 * RATE)) > train_set.lengths[-1]
    found = [train_set.batch(1, index) for index in range(train_set.steps)]
    assert max(frames.max() for (_, frames, _, _), _ in found) == train_set.lengths[-1]
    assert all(features.shape[1] in train_set.lengths and not bad for (features, *_), bad in found)


def test_seconds_that_are_too_few_are_named_by_the_batch(corpus, tmp_path):
    scale_seconds(tmp_path, 0.5, [5])
    train_set = TrainSet(corpus(minibatch_size=20))
    (features, *_), bad = train_set.batch(1, 0)
    assert len(features) == 20 and list(bad) == [str(tmp_path / "5.wav")]
    assert_named(bad[str(tmp_path / "5.wav")], ["2.00 s", "1.01 seconds"])
