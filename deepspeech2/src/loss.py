"""Connectionist temporal classification (Graves et al., ICML 2006), with what has no finite loss counted.

Letters: T frames, B utterances, K labels, S labels of the longest transcript.
"""
import mindspore as ms
from mindspore import nn, ops

from deepspeech2.src.text import BLANK


class CtcLoss(nn.Cell):
    """Log probabilities (T, B, K), frames (B,), labels (B, S), counts (B,) -> mean loss, share that is infinite.

    The negative log probability of each transcript. Where it is infinite, by too few frames or by underflow, the
    utterance adds neither loss nor gradient; the CPU's nn.CTCLoss(zero_infinity=True) zeroes only the gradient. Where
    it is NaN, so is the mean.
    """

    def __init__(self):
        super().__init__()
        self.ctc = nn.CTCLoss(blank=BLANK, reduction="none", zero_infinity=True)

    def construct(self, log_probs, frames, labels, counts):
        loss = self.ctc(log_probs, labels, frames, counts)                         # (B,)
        finite = loss != float("inf")       # NaN is left in: the training looks for it
        loss = ops.select(finite, loss, ops.zeros_like(loss))
        return loss.mean(), 1 - finite.astype(ms.float32).mean()
