"""From embeddings to trial scores: cosine, crops, adaptive score normalisation.

Letters: n trials, m files, E embedding size, u utterances, k cohort speakers.
"""
import numpy as np

from ecapatdnn.src.metric import Trials

CHUNK = 2048        # files whose cohort scores are held at once
TRIALS_AT_ONCE = 65536


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1: (m, E) -> same."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cosine_scores(embeddings: np.ndarray, trials: Trials) -> np.ndarray:
    """Cosine of every trial (n,), from unit embeddings (m, 1 + crops, E).

    With crops, TaoRuijie's score: the mean of the whole-file cosine and of the mean over all pairs of crops.
    """
    whole = _products(embeddings[:, 0], trials)
    if embeddings.shape[1] == 1:
        return whole
    return (whole + _products(embeddings[:, 1:].mean(axis=1), trials)) / 2   # a mean of products is one of means


def _products(x: np.ndarray, trials: Trials) -> np.ndarray:
    """Inner product of the two sides of every trial: (m, E) -> (n,); in pieces, to bound the memory."""
    pieces = [slice(start, start + TRIALS_AT_ONCE) for start in range(0, len(trials.left), TRIALS_AT_ONCE)]
    return np.concatenate([np.einsum("ne,ne->n", x[trials.left[piece]], x[trials.right[piece]]) for piece in pieces])


def speaker_means(embeddings: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """Unit mean embedding of each speaker: (u, E), (u,) -> (k, E)."""
    sums = np.zeros((speaker.max() + 1, embeddings.shape[1]), embeddings.dtype)
    np.add.at(sums, speaker, embeddings)
    return unit(sums)


def subtract_mean(embeddings: np.ndarray, cohort: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (m, any number, E) and cohort (k, E) relative to the cohort's mean, of length 1 again."""
    mean = cohort.mean(axis=0)
    shifted, shifted_cohort = [(x - mean) / np.linalg.norm(x - mean, axis=-1, keepdims=True)
                               for x in (embeddings, cohort)]
    return shifted, shifted_cohort


def as_norm(scores: np.ndarray, embeddings: np.ndarray, cohort: np.ndarray, trials: Trials, top_n: int) -> np.ndarray:
    """Adaptive symmetric normalisation (Matejka et al., Interspeech 2017), with each side's `top_n` nearest cohort.

    scores (n,), unit embeddings (m, E) of the trials' files, unit cohort (k, E) -> (n,).
    """
    top_n = min(top_n, len(cohort))
    mean, deviation = np.empty(len(embeddings)), np.empty(len(embeddings))
    for start in range(0, len(embeddings), CHUNK):
        near = embeddings[start:start + CHUNK] @ cohort.T
        near = np.partition(near, len(cohort) - top_n, axis=1)[:, -top_n:]
        mean[start:start + CHUNK], deviation[start:start + CHUNK] = near.mean(axis=1), near.std(axis=1)
    left, right = trials.left, trials.right
    return ((scores - mean[left]) / deviation[left] + (scores - mean[right]) / deviation[right]) / 2
