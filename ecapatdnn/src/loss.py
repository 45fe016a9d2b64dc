"""AAM-softmax: classification of speakers with an additive angular margin.

Deng et al.: "ArcFace", CVPR 2019, arXiv:1801.07698; sub-centres: Deng et al., ECCV 2020.
Letters: B utterances, E embedding size, S speakers, K sub-centres per speaker.
"""
import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import XavierNormal, initializer

from utils import cpu_ops


class AamSoftmax(nn.Cell):
    """Embeddings (B, E), speakers (B,) int -> mean cross entropy, share of right decisions; both scalar.

    The angle to an utterance's own speaker is widened by `margin` radians before the softmax; where that would
    pass pi, the cosine is lowered linearly instead, so that the loss keeps falling with the angle.
    """

    def __init__(self, emb_size: int, speakers: int, margin: float = 0.2, scale: float = 30.0, sub_centers: int = 1):
        super().__init__()
        self.scale = scale
        self.sub_centers = sub_centers
        self.product = cpu_ops.Product()
        self.weight = Parameter(initializer(XavierNormal(), (speakers * sub_centers, emb_size)), name="weight")
        self.margin = Parameter(Tensor(margin, ms.float32), name="margin", requires_grad=False)

    def construct(self, embedding, speaker):
        cosine = self.product(unit(embedding.astype(ms.float32)), unit(self.weight))      # (B, S K)
        if self.sub_centers > 1:
            cosine = cosine.reshape(cosine.shape[0], -1, self.sub_centers).max(axis=2)    # (B, S)
        sine = ops.sqrt(ops.clamp(1 - cosine.square(), 1e-9, 1.0))
        widened = cosine * ops.cos(self.margin) - sine * ops.sin(self.margin)
        lowered = cosine - self.margin * ops.sin(self.margin)
        widened = ops.where(cosine > -ops.cos(self.margin), widened, lowered)
        is_speaker = ops.arange(cosine.shape[1]).reshape(1, -1) == speaker.reshape(-1, 1)
        logits = self.scale * ops.where(is_speaker, widened, cosine)
        accuracy = (cosine.argmax(axis=1).astype(ms.int32) == speaker).astype(ms.float32).mean()
        return ops.cross_entropy(logits, speaker), accuracy

    def set_margin(self, radians: float) -> None:
        """The margin from the next step on; a ramp calls it at the start of an epoch."""
        self.margin.set_data(Tensor(radians, ms.float32))


def unit(x: Tensor) -> Tensor:
    """Rows of length 1. (The gradient of ops.L2Normalize takes 2 s on a CPU at 1000 x 192.)"""
    return x * ops.rsqrt(x.square().sum(1, keepdims=True) + 1e-12)


def margin_at(epoch: int, margin: float, start: int, end: int) -> float:
    """The margin of `epoch` (from 1): 0 until `start`, then linear, `margin` from `end` on."""
    if epoch >= end:
        return margin
    return margin * max(0.0, epoch - start) / max(1, end - start)


