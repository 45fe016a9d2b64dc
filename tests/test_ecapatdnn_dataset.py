"""The training data of ECAPA-TDNN: deterministic, sharded, augmented; bad files named."""
import itertools
import os

import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, refused

from ecapatdnn.src.dataset import TrainSet, find_noise
from utils.audio import audio_file
from utils.corpora.lists import read_train_list
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError
from utils.training.loader import Batches


def epoch(dataset, number):
    return [dataset.batch(number, index)[0] for index in range(dataset.steps)]


def test_batches_depend_on_seed_epoch_and_position_alone(ecapa_config):
    first, again, other = (TrainSet(ecapa_config(seed=seed)) for seed in (1, 1, 2))
    again.batch(3, 2)                                    # what was made before must not matter
    for (x, a), (y, b), (z, _) in zip(epoch(first, 1), epoch(again, 1), epoch(other, 1), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, b)
        assert (x != z).any()
    assert (epoch(first, 1)[0][0] != epoch(first, 2)[0][0]).any()


def test_ranks_share_an_epoch_out(ecapa_config):
    whole = epoch(TrainSet(ecapa_config(minibatch_size=4)), 1)
    ranks = [epoch(TrainSet(ecapa_config(minibatch_size=2), rank, 2), 1) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == len(whole) == 6
    for batch, left, right in zip(whole, *ranks, strict=True):
        np.testing.assert_array_equal(batch[0], np.concatenate((left[0], right[0])))


def test_every_file_once_an_epoch_or_every_speaker_equally_often(ecapa_config):
    dataset = TrainSet(ecapa_config())
    assert sorted(dataset.order(5)) == list(range(24))
    dataset = TrainSet(ecapa_config(crops_per_epoch=60))
    assert dataset.steps == 15
    np.testing.assert_array_equal(np.bincount(dataset.speaker[dataset.order(1)]), [10] * 6)


def test_speeds_are_speakers_of_their_own(ecapa_config):
    dataset = TrainSet(ecapa_config(speeds="0.9,1.0,1.1", crops_per_epoch=240))
    speakers = np.concatenate([batch[1] for batch in epoch(dataset, 1)])
    assert dataset.classes == 18 and set(speakers) == set(range(18))
    with refused(MismatchError, "class_num: 6", "6 speakers", "3 speed", "18 classes"):
        TrainSet(ecapa_config(speeds="0.9,1.0,1.1", class_num=6))
    with refused(SettingError, "speeds", "'fast'"):
        TrainSet(ecapa_config(speeds="fast"))


def test_a_crop_is_made_of_pieces_from_several_places(ecapa_config, tmp_path):
    ramp = np.arange(64000, dtype=np.float32) / 64000
    soundfile.write(tmp_path / "ramp.wav", ramp, 16000, subtype="FLOAT")
    dataset = TrainSet(ecapa_config(pieces=3))
    crop = dataset._speech(str(tmp_path / "ramp.wav"), 9001, np.random.default_rng(0))
    assert crop.shape == (9001,)
    sizes, starts = np.cumsum([0, 3001, 3000, 3000]), []
    for first, last in itertools.pairwise(sizes):
        inside = crop[first:last][80:-80] * 64000                       # 5 ms are faded at either end
        np.testing.assert_allclose(np.diff(inside), 1, atol=0.01)
        starts.append(round(float(inside[0])) - 80)
    assert len(set(starts)) == 3 and all(0 <= start <= 61000 for start in starts)
    assert abs(crop[0] * 64000 - starts[0]) < 1 and not crop[[3000, 3001, 6000, 6001]].any()
    with refused(SettingError, "pieces", 4, "1 to 3"):
        TrainSet(ecapa_config(pieces=4))


@pytest.mark.parametrize("front_end", ["taoruijie", "speechbrain", "kaldi"])
def test_crops_have_exactly_the_frames_asked_for(ecapa_config, front_end):
    (features, speaker), bad = TrainSet(ecapa_config(front_end=front_end, mp3_probability=1.0)).batch(1, 0)
    assert features.shape == (4, 60, 80) and features.dtype == np.float32
    assert speaker.shape == (4,) and speaker.dtype == np.int32 and not bad
    assert np.isfinite(features).all()


def test_augmentation_takes_what_the_folders_offer(ecapa_config, tmp_path):
    assert TrainSet(ecapa_config()).augmenter.choices == [
        (), ("reverberation",), ("noise",), ("music",), ("babble",), ("babble", "music")]
    assert TrainSet(ecapa_config(musan_path="", rir_path="")).augmenter.choices == [()]
    soundfile.write(tmp_path / "flat.wav", np.ones(16000) * 0.1, 16000)
    assert find_noise(str(tmp_path)) == {"noise": [f"{tmp_path}/flat.wav"]}
    with refused(NotFoundError, "musan_path", tmp_path / "empty"):
        TrainSet(ecapa_config(musan_path=str(tmp_path / "empty")))


@pytest.mark.parametrize("kind, low, high", [("noise", 0, 15), ("music", 5, 15)])
def test_noise_is_added_within_its_range(ecapa_config, kind, low, high):
    augmenter = TrainSet(ecapa_config()).augmenter
    speech = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    for seed in range(20):
        noise = augmenter._add(kind, speech, np.random.default_rng(seed)) - speech
        snr = 10 * np.log10(np.mean(speech ** 2) / np.mean(noise ** 2))
        assert low - 0.1 <= snr <= high + 0.1


def test_noise_and_rooms_that_cannot_be_read_are_named_and_others_drawn(ecapa_config, tmp_path, capsys):
    for folder in ("noise", "rooms"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "whole.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
        (tmp_path / folder / "cut.wav").write_bytes((tmp_path / folder / "whole.wav").read_bytes()[:9000])
    dataset = TrainSet(ecapa_config(musan_path=str(tmp_path / "noise"), rir_path=str(tmp_path / "rooms")))
    assert [dataset.batch(epoch, 0)[1] for epoch in range(1, 11)] == [{}] * 10     # no speech is blamed
    named = capsys.readouterr().err
    assert_line(named, tmp_path / "noise/cut.wav", "truncated")
    assert_line(named, tmp_path / "rooms/cut.wav", "truncated")


def damaged(folder, name, kind):
    path = folder / "s" / name
    path.parent.mkdir(exist_ok=True)
    sound = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.1
    if kind == "NaN":
        soundfile.write(path, np.where(np.arange(32000) % 2, sound, np.nan), 16000, subtype="FLOAT")
    elif kind == "8000 Hz":
        soundfile.write(path, sound, 8000)
    elif kind == "empty":
        soundfile.write(path, sound[:0], 16000)
    elif kind == "truncated":
        soundfile.write(path, sound, 16000)
        os.truncate(path, 30000)
    return f"s/{name}"


@pytest.mark.parametrize("kind", ["NaN", "8000 Hz", "empty", "truncated", "no such"])
def test_bad_file_is_replaced_and_named(ecapa_config, tmp_path, kind):
    for speaker in ("a", "b"):
        audio_file.write_wav(str(tmp_path / speaker / "1.wav"), np.sin(np.arange(32000) / 9) * 0.1, 16000)
    broken = damaged(tmp_path, "x.wav", kind)
    (tmp_path / "train.txt").write_text(f"a a/1.wav\nb b/1.wav\nb {broken}\n")
    dataset = TrainSet(ecapa_config(train_list=str(tmp_path / "train.txt"), train_path=str(tmp_path), minibatch_size=3,
                                    musan_path="", rir_path=""))
    (features, speaker), bad = dataset.batch(1, 0)
    assert features.shape[0] == 3 and set(speaker) <= {0, 1}
    assert list(bad) == [f"{tmp_path}/{broken}"] and kind.lower() in bad[f"{tmp_path}/{broken}"].lower()


def test_million_line_list_is_small(tmp_path):
    """VoxCeleb2 dev has 1,092,009 lines; what stays of a list is less than 100 bytes per line."""
    lines = 1_100_000
    with open(tmp_path / "train.txt", "w", encoding="ascii") as file:
        file.writelines(f"id{i % 5994:05d} id{i % 5994:05d}/abcdefghijk/{i:07d}.wav\n" for i in range(lines))
    paths, speaker, names = read_train_list(tmp_path / "train.txt")
    assert len(paths) == lines and len(names) == 5994 and speaker.max() == 5993
    assert (paths.nbytes + speaker.nbytes) / lines < 100


@pytest.mark.parametrize("workers", [0, 1])
def test_file_lost_in_training_is_left_out_and_too_many_stop_the_run(ecapa_config, tmp_path, workers):
    """One deleted and one cut after the first epoch, of three that a list names 40 times each."""
    for name in ("a/1.wav", "b/1.wav", "b/2.wav"):
        audio_file.write_wav(str(tmp_path / name), np.sin(np.arange(32000) / 9) * 0.1, 16000)
    (tmp_path / "train.txt").write_text("a a/1.wav\nb b/1.wav\nb b/2.wav\n" * 40)
    batches = Batches(TrainSet(ecapa_config(train_list=str(tmp_path / "train.txt"), train_path=str(tmp_path),
                                            musan_path="", rir_path="")), workers)
    try:
        assert len(list(batches.epoch(1))) == 30 and not batches.bad
        (tmp_path / "b" / "1.wav").unlink()
        assert len(list(batches.epoch(2))) == 30 and list(batches.bad) == [f"{tmp_path}/b/1.wav"]
        os.truncate(tmp_path / "b" / "2.wav", 1000)
        with refused(ContentError, "2 of 120", "1%", tmp_path / "b" / "1.wav"):
            list(batches.epoch(3))
    finally:
        batches.close()
