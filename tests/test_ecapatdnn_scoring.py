"""ecapatdnn: lists, error rates, cosine scores, score normalisation and the cache of embeddings."""
import errno
import os
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_line, refused
from mindspore import Tensor, nn

from ecapatdnn.src import inference, scoring
from ecapatdnn.src.config import Config, CropSettings
from ecapatdnn.src.dataset import check_classes
from ecapatdnn.src.embedding_cache import EmbeddingCache
from ecapatdnn.src.inference import Verifier
from ecapatdnn.src.metric import Trials, equal_error_rate, error_rates, minimum_detection_cost, read_trials
from ecapatdnn.src.scoring import as_norm, cosine_scores, speaker_means
from utils.audio.audio_file import AudioError
from utils.audio.survey import Stamp
from utils.checkpoints.checkpoint import save_checkpoint
from utils.corpora.lists import read_lines, read_train_list
from utils.errors import ContentError, MismatchError, NotFoundError, RunError, SettingError


def metrics(target, scores, prior=0.01, **costs):
    errors = error_rates(np.asarray(target, bool), np.asarray(scores))
    return equal_error_rate(errors)[0], minimum_detection_cost(errors, prior, **costs)


def brute_force(target, scores):
    """Miss and false alarm at every threshold, each counted from the definition."""
    thresholds = [*np.unique(scores), np.inf]
    miss = np.array([np.mean(scores[target] < t) for t in thresholds])
    false_alarm = np.array([np.mean(scores[~target] >= t) for t in thresholds])
    return miss, false_alarm


def random_scores(seed, ties):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(4, 300))
    target = rng.random(count) < rng.uniform(0.1, 0.9)
    target[:2] = True, False
    scores = rng.normal(size=count) + 1.5 * target
    return target, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("targets, others, eer, cost_half, cost_hundredth", [
    ([2, 3], [0, 1], 0, 0, 0),
    ([0, 1], [2, 3], 1, 1, 1),
    ([1, 1], [1, 1, 1], 0.5, 1, 1),
    ([1, 2, 3], [1, 2, 3], 0.5, 1, 1),
    ([0.9, 0.8, 0.3], [0.7, 0.2, 0.1], 1 / 3, 1 / 3, 1 / 3),
    ([0.9, 0.4], [0.5, 0.1, 0.2, 0.3], 0.25, 0.25, 0.5),
    ([5], [4, 6], 1 / 2, 1 / 2, 1),
    ([5], [5, 0], 1 / 3, 1 / 2, 1)])
def test_error_rates_worked_out_by_hand(targets, others, eer, cost_half, cost_hundredth):
    target = [True] * len(targets) + [False] * len(others)
    assert metrics(target, targets + others, 0.5) == pytest.approx((eer, cost_half))
    assert metrics(target, targets + others, 0.01)[1] == pytest.approx(cost_hundredth)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_error_rates_equal_brute_force(seed, ties):
    target, scores = random_scores(seed, ties)
    miss, false_alarm = brute_force(target, scores)
    errors = error_rates(target, scores)
    np.testing.assert_allclose(errors.miss, miss, atol=1e-12)
    np.testing.assert_allclose(errors.false_alarm, false_alarm, atol=1e-12)
    eer, threshold = equal_error_rate(errors)
    assert eer == pytest.approx(np.interp(0, miss - false_alarm, miss))
    bounds = np.mean(scores[target] < threshold), np.mean(scores[~target] >= threshold)
    assert min(bounds) - 1e-12 <= eer <= max(bounds) + 1e-12


@pytest.mark.parametrize("prior, miss_cost, false_alarm_cost", [(0.01, 1, 1), (0.05, 1, 1), (0.01, 10, 1), (0.9, 1, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_detection_cost_equals_brute_force_and_is_at_most_one(seed, prior, miss_cost, false_alarm_cost):
    target, scores = random_scores(seed, ties=seed % 2 == 0)
    miss, false_alarm = brute_force(target, scores)
    cost = miss_cost * prior * miss + false_alarm_cost * (1 - prior) * false_alarm
    expected = cost.min() / min(cost[0], cost[-1])      # accepting all, rejecting all
    found = metrics(target, scores, prior, miss_cost=miss_cost, false_alarm_cost=false_alarm_cost)[1]
    assert found == pytest.approx(expected) and 0 <= found <= 1


@pytest.mark.parametrize("change", [lambda s: 3 * s, lambda s: s - 100, lambda s: np.exp(s)])
@pytest.mark.parametrize("seed", range(3))
def test_an_increasing_change_of_the_scores_changes_nothing(seed, change):
    target, scores = random_scores(seed, ties=True)
    assert metrics(target, change(scores)) == pytest.approx(metrics(target, scores))


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_trials_does_not_matter(seed):
    target, scores = random_scores(seed, ties=True)
    order = np.random.default_rng(seed).permutation(len(scores))
    assert metrics(target[order], scores[order]) == metrics(target, scores)
    assert metrics(~target, -scores, 0.5) == pytest.approx(metrics(target, scores, 0.5))


@pytest.mark.parametrize("broken", [1, 33, 100])
def test_scores_that_are_no_numbers_are_refused(broken):
    scores = np.linspace(0, 1, 100)
    scores[:broken] = np.nan
    with refused(RunError, f"{broken} of 100 scores"):
        equal_error_rate(error_rates(np.arange(100) % 2 == 0, scores))


def write(path, text):
    path.write_text(text)
    return str(path)


def test_trials_index_their_files(tmp_path):
    trials = read_trials(write(tmp_path / "t", "1 b/x.wav a/y.wav\n0 a/y.wav c/z.wav\r\n1\tc/z.wav  c/z.wav\n\n"))
    assert trials.target.tolist() == [True, False, True]
    assert trials.files.tolist() == [b"a/y.wav", b"b/x.wav", b"c/z.wav"]
    assert trials.files[trials.left].tolist() == [b"b/x.wav", b"a/y.wav", b"c/z.wav"]
    assert trials.files[trials.right].tolist() == [b"a/y.wav", b"c/z.wav", b"c/z.wav"]


@pytest.mark.parametrize("text, facts", [
    ("1 a b\n0 a\n", ["line 2", "'0 a'", "1 path path"]), ("1 a b\n0 a b\n\n2 a b\n", ["line 4", "'2 a b'"]),
    ("1 a b\n0 a b\ntarget a b\n", ["line 3", "'target a b'"]), ("1 a b c\n0 a b\n", ["line 1", "'1 a b c'"]),
    ("1 a b\n1 a c\n", ["2 of 2 trials", "targets"]), ("0 a b\n", ["0 of 1 trials", "targets"]),
    ("", ["empty", "prepare.py"]), ("\n \n", ["empty", "prepare.py"])])
def test_a_bad_trial_list_is_refused_in_one_line(tmp_path, text, facts):
    path = write(tmp_path / "t", text)
    with refused(ContentError, path, *facts):
        read_trials(path)


def test_trials_that_say_little_or_contradict_are_counted(tmp_path, capsys):
    path = write(tmp_path / "t", "1 a b\n0 a c\n1 b a\n1 a b\n1 c c\n1 c a\n")
    assert len(read_trials(path).target) == 6
    printed = capsys.readouterr().err
    assert_line(printed, path, "1 of 6", "itself")
    assert_line(printed, path, "2 of 6", "repeat")
    assert_line(printed, path, "1 of 6", "opposite")
    read_trials(write(tmp_path / "t", "1 a b\n0 a c\n"))
    assert not capsys.readouterr().err


def test_files_of_trials_may_have_any_name(tmp_path):
    (tmp_path / "t").write_bytes(b"1 a b\n0 a m\xfcller\n")
    assert read_trials(tmp_path / "t").files.tolist() == [b"a", b"b", b"m\xfcller"]


@pytest.mark.parametrize("name, reason", [("missing", errno.ENOENT), (".", errno.EISDIR)])
@pytest.mark.parametrize("reader", [read_trials, read_train_list, read_lines])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, reader, name, reason):
    with refused(NotFoundError, tmp_path / name, os.strerror(reason), "prepare.py"):
        reader(str(tmp_path / name))


@pytest.mark.parametrize("document", ["faults.md", "faults_CN.md"])
def test_the_line_that_a_document_shows_is_what_is_printed(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(NotFoundError, "lists/mini/train.txt") as error:
        read_train_list("lists/mini/train.txt")
    assert f"\nerror: {error.value}\n" in (ROOT / "docs" / document).read_text(encoding="utf-8")


VOXCELEB_E = """
import resource, sys
import numpy as np
from ecapatdnn.src.metric import equal_error_rate, error_rates, read_trials
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trials = read_trials(sys.argv[1])
eer, _ = equal_error_rate(error_rates(trials.target, np.random.default_rng(0).random(len(trials.target))))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(trials.target), len(trials.files), round(eer, 2), (after - before) // 1024)
"""


@pytest.mark.parametrize("files", [14500, pytest.param(145000, marks=pytest.mark.slow)])
def test_a_list_as_long_as_voxceleb_e_fits_into_memory(tmp_path, files):
    names = [f"id1{i // 120:04d}/5r0dWxy{i // 10 % 100:04d}/{i % 10:05d}.wav" for i in range(files)]
    lines = [f"{i % 2} {names[i % files]} {names[(7 * i + 1) % files]}" for i in range(4 * files)]
    path = write(tmp_path / "trials.txt", "\n".join(lines) + "\n")
    process = subprocess.run([sys.executable, "-c", VOXCELEB_E, path], capture_output=True, text=True, check=True)
    *found, megabytes = process.stdout.split()
    assert found == [str(4 * files), str(files), "0.5"]
    assert int(megabytes) < 50 + files // 250     # a kilobyte a trial


def unit(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def random_trials(count, files, seed=0):
    left, right = np.random.default_rng(seed).integers(0, files, (2, count))
    return Trials(np.arange(count) % 2 == 0, left, right, np.array([b"%d" % i for i in range(files)]))


def test_scoring_takes_memory_for_one_embedding_a_side():
    trials, embeddings = random_trials(40000, 10000), unit((10000, 1, 48))
    tracemalloc.start()
    scores = cosine_scores(embeddings, trials)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.shape == (40000,)
    assert peak < 2.2 * 40000 * 48 * 4


def test_cosine_of_whole_files():
    trials, embeddings = random_trials(200, 30), unit((30, 1, 8))
    pairs = zip(trials.left, trials.right, strict=True)
    expected = [float(np.dot(embeddings[i, 0], embeddings[j, 0])) for i, j in pairs]
    np.testing.assert_allclose(cosine_scores(embeddings, trials), expected, atol=1e-6)


@pytest.mark.parametrize("crops", [1, 2, 5])
def test_cosine_with_crops_is_the_mean_over_all_pairs(crops):
    trials, embeddings = random_trials(50, 12), unit((12, 1 + crops, 8))
    expected = []
    for i, j in zip(trials.left, trials.right, strict=True):
        pairs = [np.dot(a, b) for a in embeddings[i, 1:] for b in embeddings[j, 1:]]
        expected.append((np.dot(embeddings[i, 0], embeddings[j, 0]) + np.mean(pairs)) / 2)
    np.testing.assert_allclose(cosine_scores(embeddings, trials), expected, atol=1e-6)


def test_a_file_scores_one_with_itself_and_both_orders_score_alike():
    embeddings = unit((12, 1, 8))
    itself = np.arange(12)
    np.testing.assert_allclose(cosine_scores(embeddings, Trials(None, itself, itself, None)), np.ones(12), atol=1e-6)
    embeddings, trials = unit((12, 6, 8)), random_trials(50, 12)
    swapped = Trials(trials.target, trials.right, trials.left, trials.files)
    np.testing.assert_allclose(cosine_scores(embeddings, trials), cosine_scores(embeddings, swapped), atol=1e-6)


def test_a_long_recording_is_the_mean_of_its_parts(monkeypatch):
    """And no part is longer than what is embedded at once."""
    lengths = []

    class Counting(MeanSpectrum):
        def outputs(self, features):
            lengths.append(features.shape[1])
            return super().outputs(features)

    monkeypatch.setattr(inference, "LONGEST", 2)
    samples = np.random.default_rng(0).standard_normal(5 * 16000 + 1).astype(np.float32)
    whole = Counting().run(samples)
    parts = [Counting().run(part) for part in np.array_split(samples, 3)]
    np.testing.assert_allclose(whole, scoring.unit(sum(parts)), rtol=1e-6)
    assert whole.shape == (1, 80) and len(lengths) == 6 and max(lengths) <= 201


class MeanSpectrum(Verifier):
    """A network that gives the loudness of each band, less their mean."""

    def __init__(self, **settings):
        super().__init__(nn.Identity(), Config(**settings))

    def outputs(self, features):
        return scoring.unit(np.abs(features).mean(axis=1))


def test_a_file_and_its_samples_have_one_embedding(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    verifier = MeanSpectrum(resample=True)
    actual = verifier.embed(samples, 8000)
    np.testing.assert_array_equal(actual, verifier.embed(tmp_path / "a.wav"))
    np.testing.assert_array_equal(actual, verifier.embed(samples.mean(axis=1), 8000))
    assert actual.shape == (80,) and abs(verifier.score(tmp_path / "a.wav", samples, 8000) - 1) < 1e-6
    for unfit in ((1000 * samples).astype(np.int32), samples[None], samples[:0], samples * np.nan):
        with refused(AudioError):
            verifier.embed(unfit, 8000)


def test_the_score_of_two_recordings_is_that_of_a_trial():
    first, second = (np.random.default_rng(seed).uniform(-0.5, 0.5, 80000).astype(np.float32) for seed in range(2))
    verifier = MeanSpectrum(score_crops=3)
    embeddings = np.stack((verifier.run(first), verifier.run(second)))
    pairs = embeddings[0, 1:] @ embeddings[1, 1:].T
    expected = (embeddings[0, 0] @ embeddings[1, 0] + pairs.mean()) / 2
    assert embeddings.shape == (2, 4, 80) and verifier.score(first, second) == pytest.approx(expected, abs=1e-6)


def test_speaker_means_are_unit_and_point_along_the_sum():
    embeddings, speaker = unit((20, 6)), np.array([2, 0, 1, 0] * 5)
    means = speaker_means(embeddings, speaker)
    assert means.shape == (3, 6)
    for who in range(3):
        mean = embeddings[speaker == who].mean(axis=0)
        np.testing.assert_allclose(means[who], mean / np.sqrt((mean ** 2).sum()), atol=1e-6)
    np.testing.assert_allclose(speaker_means(embeddings[:4], np.arange(4)), embeddings[:4], atol=1e-6)


@pytest.fixture
def normalised():
    """Scores of 60 trials over 20 files, their embeddings, a cohort of 15 and the trials."""
    trials, embeddings = random_trials(60, 20), unit((20, 8), seed=1)
    return np.random.default_rng(2).normal(size=60), embeddings, unit((15, 8), seed=3), trials


def naive_as_norm(scores, embeddings, cohort, trials, top_n):
    result = []
    for score, i, j in zip(scores, trials.left, trials.right, strict=True):
        parts = []
        for side in (i, j):
            nearest = sorted((float(np.dot(embeddings[side], c)) for c in cohort), reverse=True)[:top_n]
            centre = sum(nearest) / len(nearest)
            spread = (sum((s - centre) ** 2 for s in nearest) / len(nearest)) ** 0.5
            parts.append((score - centre) / spread)
        result.append(sum(parts) / 2)
    return np.array(result)


@pytest.mark.parametrize("top_n", [2, 5, 14, 15, 16, 300])
def test_as_norm_equals_a_double_loop_whatever_the_chunk(normalised, monkeypatch, top_n):
    expected = naive_as_norm(*normalised, top_n)
    np.testing.assert_allclose(as_norm(*normalised, top_n), expected, rtol=1e-3, atol=1e-4)
    for chunk in (1, 7, 20):
        monkeypatch.setattr(scoring, "CHUNK", chunk)
        np.testing.assert_allclose(as_norm(*normalised, top_n), expected, rtol=1e-3, atol=1e-4)


def test_as_norm_knows_neither_rotations_nor_sides_nor_the_cohorts_order(normalised):
    scores, embeddings, cohort, trials = normalised
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
    swapped = Trials(trials.target, trials.right, trials.left, trials.files)
    twice = np.concatenate((cohort, cohort))
    expected = as_norm(scores, embeddings, cohort, trials, 5)
    for actual in (as_norm(scores, embeddings @ turn, cohort @ turn, trials, 5),
                  as_norm(scores, embeddings, cohort, swapped, 5),
                  as_norm(scores, embeddings, cohort[::-1], trials, 5),
                  as_norm(scores, embeddings, twice, trials, 10)):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_as_norm_of_one_file_keeps_the_order_of_its_scores(normalised):
    scores, embeddings, cohort, _ = normalised
    trials = Trials(None, np.full(60, 3), np.full(60, 4), None)
    found = as_norm(scores, embeddings, cohort, trials, 5)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(scores))
    np.testing.assert_allclose(np.corrcoef(found, scores)[0, 1], 1)


@pytest.mark.parametrize("top_n", [1, 0, -1])
def test_as_norm_needs_two_cohort_speakers_for_a_deviation(top_n):
    with refused(SettingError, "top_n", top_n, "2 to 1000000000"):
        Config(top_n=top_n)


SETTINGS = ("kaldi", 0, False)


def checkpoint(folder, content=b"weights"):
    folder.mkdir(exist_ok=True)
    (folder / "best.ckpt").write_bytes(content)
    return folder / "best.ckpt"


def known(count=5):
    return {b"f/%d.wav" % i ** 3: (Stamp(i, 2 ** 60 + i), x) for i, x in enumerate(unit((count, 3, 4)))}


def test_a_cache_gives_back_what_was_saved(tmp_path):
    path = checkpoint(tmp_path / "run")
    assert EmbeddingCache(path, *SETTINGS).load(tmp_path) == {}
    EmbeddingCache(path, *SETTINGS).save(tmp_path, known())
    loaded = EmbeddingCache(str(path), *SETTINGS).load(str(tmp_path))
    assert list(loaded) == list(known())
    for name, (stamp, embedding) in known().items():
        np.testing.assert_array_equal(loaded[name][1], embedding)
        assert loaded[name][0] == stamp and loaded[name][1].dtype == np.float32
    assert all(name.endswith(".npz") for name in os.listdir(tmp_path / "run" / "embeddings"))


@pytest.mark.parametrize("content, settings, folder", [
    (b"other", SETTINGS, "corpus"), (b"weights", ("taoruijie", 0, False), "corpus"),
    (b"weights", ("kaldi", 5, False), "corpus"), (b"weights", ("kaldi", 0, True), "corpus"),
    (b"weights", SETTINGS, "corpus2"), (b"weights", SETTINGS, "corpus/dev")])
def test_another_checkpoint_setting_or_folder_has_a_cache_of_its_own(tmp_path, content, settings, folder):
    EmbeddingCache(checkpoint(tmp_path / "run"), *SETTINGS).save(tmp_path / "corpus", known())
    assert EmbeddingCache(checkpoint(tmp_path / "run", content), *settings).load(tmp_path / folder) == {}
    same = EmbeddingCache(checkpoint(tmp_path / "run"), *SETTINGS)
    assert len(same.load(tmp_path / "corpus")) == len(same.load(f"{tmp_path}/x/../corpus/")) == 5


def test_a_cache_belongs_to_the_parameters_of_a_checkpoint(tmp_path):
    """Not to what is recorded beside them, such as a calibration."""
    def cache(name="weight", value=1.0, **record):
        save_checkpoint(tmp_path / "best.ckpt", {name: Tensor([value, 2.0])}, **record)
        return EmbeddingCache(tmp_path / "best.ckpt", *SETTINGS)

    cache(epoch=3).save(tmp_path, known())
    assert len(cache(epoch=3, calibration={"scale": 9.5}).load(tmp_path)) == len(cache().load(tmp_path)) == 5
    assert cache(value=1.5).load(tmp_path) == cache("weights").load(tmp_path) == {}


class CountingVerifier(Verifier):
    """Embeds a file as the number in its name, and notes its name; `fails` at another name, with an exception."""

    def __init__(self, cache=None, fails=(None, None)):
        self.seen, self.cache, self.fails, self.config = [], cache, fails, Config()

    def run(self, recording, rate=16000):
        name = os.path.basename(recording)
        if name == self.fails[0]:
            raise self.fails[1]
        self.seen.append(name)
        return np.full((1, 2), int(name), np.float32)


@pytest.fixture
def numbers(tmp_path):
    """A folder of recordings 1, 2, 3, 4 and 9, a second each but for 9 of 0.1 s, and a cache for them."""
    (tmp_path / "corpus").mkdir()
    for number, seconds in ((1, 1), (2, 1), (3, 1), (4, 1), (9, 0.1)):
        soundfile.write(tmp_path / "corpus" / str(number), np.full(int(16000 * seconds), 0.1), 16000, format="WAV")
    return tmp_path / "corpus", EmbeddingCache(checkpoint(tmp_path / "run"), *SETTINGS)


def test_files_in_the_cache_are_not_embedded_again(numbers):
    folder, cache = numbers
    verifier = CountingVerifier(cache)
    for files in ([b"3", b"1"], [b"1", b"2", b"3"], [b"2"]):
        found = verifier.embed_files(files, folder)
        assert found.shape == (len(files), 1, 2)
        assert found[:, 0, 0].tolist() == [int(file) for file in files]
    assert verifier.seen == ["3", "1", "2"]
    verifier.cache = None
    verifier.embed_files([b"1"], folder)
    assert len(verifier.seen) == 4


def test_a_file_that_has_changed_is_embedded_again(numbers):
    folder, cache = numbers
    CountingVerifier(cache).embed_files([b"1", b"2", b"3"], folder)
    shutil.copyfile(folder / "9", folder / "1")             # of another size
    soundfile.write(folder / "1", np.full(8000, 0.1), 16000, format="WAV")
    os.utime(folder / "2", (1e9, 1e9))                      # of another time
    verifier = CountingVerifier(cache)
    verifier.embed_files([b"1", b"2", b"3"], folder)
    assert verifier.seen == ["1", "2"]
    (folder / "3").unlink()
    with refused(AudioError, folder / "3", "no such"):
        CountingVerifier(cache).embed_files([b"1", b"2", b"3"], folder)


def test_all_files_are_looked_at_before_the_first_is_embedded(numbers):
    folder, _ = numbers
    verifier = CountingVerifier()
    with refused(AudioError, "4 of 6", folder / "9", "0.10 s", folder / "x/1", folder / "x/2", "no such"):
        verifier.embed_files([b"1", b"9", b"x/1", b"2", b"x/2", b"x/3"], folder)
    assert verifier.seen == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError(), AudioError("silent")])
def test_an_evaluation_that_ends_early_keeps_what_is_done(numbers, failure):
    """What was embedded before it was interrupted, or beside a file that is unfit."""
    folder, cache = numbers
    with pytest.raises(type(failure)):
        CountingVerifier(cache, ("3", failure)).embed_files([b"1", b"2", b"3", b"4"], folder)
    verifier = CountingVerifier(cache)
    verifier.embed_files([b"1", b"2", b"3", b"4"], folder)
    assert verifier.seen == (["3"] if isinstance(failure, AudioError) else ["3", "4"])


def test_embeddings_are_kept_now_and_then(numbers, monkeypatch):
    """Nobody is asked where a process is killed."""
    folder, cache = numbers
    monkeypatch.setattr(inference, "SAVE_SECONDS", -1)
    monkeypatch.setattr(CountingVerifier, "run", lambda *_: np.full((1, 2), len(cache.load(folder)), np.float32))
    found = CountingVerifier(cache).embed_files([b"1", b"2", b"3"], folder)
    assert found[:, 0, 0].tolist() == [0, 1, 2]


def test_a_cache_that_cannot_be_written_costs_a_line_only(numbers, capsys):
    folder, cache = numbers
    cache.folder.write_text("a file")
    verifier = CountingVerifier(cache)
    for _ in range(2):
        assert len(verifier.embed_files([b"1", b"2"], folder)) == 2
    assert verifier.seen == ["1", "2", "1", "2"]
    assert capsys.readouterr().err.count("not kept") == 1


def test_a_cohort_is_the_mean_of_the_first_utterances_of_each_speaker(tmp_path, numbers):
    path = write(tmp_path / "list", "b 4\na 1\nb 2\na 3\nb 9\n")
    verifier = CountingVerifier()
    actual = verifier.embed_speakers(path, numbers[0], 2)
    assert verifier.seen == ["1", "3", "4", "2"]
    np.testing.assert_allclose(actual, np.full((2, 2), np.sqrt(0.5)), rtol=1e-6)


def test_a_train_list_numbers_speakers_by_name_and_keeps_spaces_in_paths(tmp_path):
    lines = "zoe z/1.wav\nadam a/my  file 2.wav\nzoe\tz/3.wav\r\nbo  b.wav \n10 x.wav\n9 y.wav\n\n"
    paths, speaker, names = read_train_list(write(tmp_path / "l", lines))
    assert names.tolist() == [b"10", b"9", b"adam", b"bo", b"zoe"]
    assert speaker.tolist() == [4, 2, 4, 3, 0, 1] and speaker.dtype == np.int32
    assert paths.tolist() == [b"z/1.wav", b"a/my  file 2.wav", b"z/3.wav", b"b.wav", b"x.wav", b"y.wav"]


@pytest.mark.parametrize("text, facts", [
    ("a x\na y\n", ["1 speaker", "two"]), ("a x\nb\n", ["line 2", "'b'", "speaker path"]),
    ("a x\n\nb\n", ["line 3", "'b'"]), ("", ["empty", "prepare.py"])])
def test_a_bad_train_list_is_refused_in_one_line(tmp_path, text, facts):
    path = write(tmp_path / "l", text)
    with refused(ContentError, path, *facts):
        read_train_list(path)


def test_blank_lines_of_a_list_are_passed_over(tmp_path):
    """Anywhere, as those of a CSV."""
    path = write(tmp_path / "l", "\na x\n \nb y\n\n")
    assert read_lines(path) == ["a x", "b y"] and read_train_list(path)[1].tolist() == [0, 1]
    assert read_trials(write(tmp_path / "t", "1 a b\n\n0 a c\n\n")).target.tolist() == [True, False]


def test_an_unset_list_is_refused():
    with refused(NotFoundError, "list", "prepare.py"):
        read_lines("")


@pytest.mark.parametrize("class_num", [0, 15])
def test_classes_are_speakers_times_speeds(class_num):
    assert check_classes(CropSettings(class_num=class_num, train_list="l"), 5, 3) == 15


@pytest.mark.parametrize("class_num", [5, 14, 16])
def test_another_class_count_is_refused_with_both_numbers(class_num):
    with refused(MismatchError, f"class_num: {class_num}", "l has 5 speakers", "3 speed", "15 classes"):
        check_classes(CropSettings(class_num=class_num, train_list="l"), 5, 3)
