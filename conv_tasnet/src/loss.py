"""Negative signal-to-noise ratio with permutation-invariant training: scale-invariant, or with silent sources.

SI-SNR: Luo, Mesgarani, arXiv:1711.00541, eq. 3 to 5; the SI-SDR of Le Roux et al., arXiv:1811.02508, of zero-mean
signals. Permutations: Yu, Kolbaek, Tan, Jensen, arXiv:1607.00325. Silent sources: Wisdom, Erdogan, Ellis, Serizel,
Turpault, Fonseca, Salamon, Seetharaman, Hershey, "What's all the FUSS about free universal sound separation data?",
ICASSP 2021, arXiv:2011.00803.

Letters as in model.py.
"""
from itertools import combinations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from conv_tasnet.src.config import Config
from utils.layers.shapes import mean_over

EPS = 1e-8
THRESHOLD = 1e-3    # 30 dB: of what is better than that the loss does not ask for more
SILENT = 1e-6       # a source with less of the mixture's energy is none


class PitSiSnr(nn.Cell):
    """Separated (M, C, S), sources (M, C, S), mixture (M, S), lengths (M,) -> negative SI-SNR, its improvement; in dB.

    Both are means over mixtures and speakers, of the assignment of separated to true sources that is best for each
    mixture. Samples from `lengths` on do not count.
    """

    def __init__(self, speakers: int):
        super().__init__()
        self.best_assignment = BestAssignment(speakers)

    def construct(self, separated, sources, mixture, lengths):
        mask = sample_mask(mixture, lengths)
        separated = separated.astype(ms.float32)
        score = self.best_assignment(si_snr(separated, sources, mask))             # (M,)
        before = si_snr(mixture.expand_dims(1), sources, mask).mean((1, 2))        # (M,)
        return -score.mean(), (score - before).mean()


class PitSnr(nn.Cell):
    """As PitSiSnr, of the thresholded SNR, for which sources may be silent.

    One gain for all outputs of a mixture is left open, so that training can go on from weights that learned by SI-SNR,
    which give them 70 dB too loud. Their levels to each other count: an output is silent beside the others.
    """

    def __init__(self, speakers: int):
        super().__init__()
        self.best_assignment = BestAssignment(speakers)

    def construct(self, separated, sources, mixture, lengths):
        mask = sample_mask(mixture, lengths)
        separated, sources = separated.astype(ms.float32) * mask, sources * mask
        mixture = mixture.expand_dims(1) * mask                                    # (M, 1, S)
        separated = separated * joint_gain(separated, sources)
        score = self.best_assignment(snr(separated, sources, mixture))             # (M,)
        before = snr(mixture, sources, mixture).mean((1, 2))                       # (M,)
        return -score.mean(), (score - before).mean()


LOSSES = {"si_snr": (PitSiSnr, "si_snri"), "snr": (PitSnr, "snri")}


def make_loss(config: Config) -> tuple[nn.Cell, str]:
    """The loss that config.loss names, and the name of the improvement that it gives."""
    kind, improvement = LOSSES[config.loss]
    return kind(config.C), improvement


class BestAssignment(nn.Cell):
    """Scores (M, C, C) of every pair -> the largest mean score of a one-to-one assignment, (M,).

    The assignment that the Hungarian algorithm finds, by dynamic programming over subsets (Held, Karp 1962), which
    unlike it is a fixed sequence of tensor operations and fits into a graph: C 2^C steps, where trying all
    permutations takes C!.
    """

    def __init__(self, speakers: int):
        super().__init__()
        self.steps = []       # of row i: for each set of i + 1 columns, its columns and the sets without each of them
        for i in range(speakers):
            known = {subset: number for number, subset in enumerate(combinations(range(speakers), i))}
            subsets = list(combinations(range(speakers), i + 1))
            rest = [[known[subset[:k] + subset[k + 1:]] for k in range(i + 1)] for subset in subsets]
            self.steps.append((Tensor(np.array(subsets), ms.int32), Tensor(np.array(rest), ms.int32)))

    def construct(self, scores):
        best = ops.zeros_like(scores[:, 0, :1])                                    # (M, 1): the empty set
        for i, (columns, rest) in enumerate(self.steps):
            best = (ops.gather(best, rest, 1) + ops.gather(scores[:, i], columns, 1)).max(2)
        return best[:, 0] / scores.shape[1]


def si_snr(separated: Tensor, sources: Tensor, mask: Tensor) -> Tensor:
    """SI-SNR in dB of every pair: (M, C or 1, S), (M, C, S), mask (M, 1, S) -> (M, C or 1, C).

    By sums of products and no product of matrices: an Ascend's multiplies in float16, and 1 - 1e-3 is all it resolves
    of a correlation near 1, the noise of 30 dB.
    """
    separated, sources = zero_mean(separated, mask), zero_mean(sources, mask)
    product = ()
    for source in ops.split(sources, 1, 1):
        product += ((separated * source).sum(2, keepdims=True),)
    product = ops.cat(product, 2)                                                  # (M, C or 1, C)
    target = product.square() / (energy(sources).transpose(0, 2, 1) + EPS)         # of the projections on the sources
    noise = ops.relu(energy(separated) - target)
    return 10 * ops.log10((target + EPS) / (noise + EPS))


def snr(separated: Tensor, sources: Tensor, mixture: Tensor) -> Tensor:
    """Thresholded SNR in dB of every pair: (M, C or 1, S), (M, C, S), mixture (M, 1, S) -> (M, C or 1, C).

    Of a silent source it is how far the output is below the mixture.
    """
    error = ()
    for source in ops.split(sources, 1, 1):
        error += (energy(separated - source),)
    error = ops.cat(error, 2)                                                      # (M, C or 1, C)
    power, whole = energy(sources).transpose(0, 2, 1), energy(mixture)             # (M, 1, C), (M, 1, 1)
    active = (power > SILENT * whole).astype(power.dtype)
    reference = active * power + (1 - active) * whole
    return 10 * ops.log10((reference + EPS) / (error + THRESHOLD * reference + EPS))


def joint_gain(separated: Tensor, sources: Tensor) -> Tensor:
    """The gain with which the sum of separated (M, C, S) comes closest to that of sources (M, C, S): (M, 1, 1)."""
    found, true = separated.sum(1, keepdims=True), sources.sum(1, keepdims=True)
    return (found * true).sum(2, keepdims=True) / (energy(found) + EPS)


def zero_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(M, C, S) without its mean over the samples that count, and zero elsewhere."""
    return (x - mean_over(x, 2, mask)) * mask


def energy(x: Tensor) -> Tensor:
    """(M, C, S) -> (M, C, 1)."""
    return x.square().sum(2, keepdims=True)


def sample_mask(mixture: Tensor, lengths: Tensor) -> Tensor:
    """1 for the samples of each mixture (M, S), 0 for its padding: (M, 1, S)."""
    sample = ops.arange(mixture.shape[1]).reshape(1, 1, -1)
    return (sample < lengths.reshape(-1, 1, 1)).astype(mixture.dtype)
