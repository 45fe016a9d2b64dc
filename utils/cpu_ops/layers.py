"""MindSpore's layers with kernels of ours: same parameters, same values, other `construct`.

A layer becomes fast by its class: `cell.__class__ = FAST[type(cell)]`. Those with products of matrices ask their
`bfloat16`, which is set before `prepare`, whether these round what they take to bfloat16.
"""
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from utils.cpu_ops import functions
from utils.cpu_ops.build import operator
from utils.layers.shapes import ones_like


class FastConv2d(nn.Conv2d):
    """(B, I, F, T) -> (B, O, F', T')."""

    bfloat16: bool

    def prepare(self) -> bool:
        """Makes the operators; False for a convolution they do not know."""
        if self.group > 1 or self.dilation[0] > 1 or (self.stride[1] > 1 and self.dilation[1] > 1):
            return False
        if self.pad_mode == "same" and self.kernel_size != (1, 1):
            return False
        padding = self.padding if isinstance(self.padding, tuple) else (self.padding,) * 4
        self.function = convolution((*self.stride, self.dilation[1], *padding), self.bfloat16)
        self.no_bias = ops.zeros(self.out_channels) if self.bias is None else None
        return True

    def construct(self, x):
        return self.function(x, self.weight, self.bias if self.has_bias else self.no_bias)


class FastConv1d(nn.Conv1d):
    """(B, I, T) -> (B, O, T')."""

    bfloat16: bool
    function: Callable[..., Any]
    no_bias: Tensor | None
    prepare = FastConv2d.prepare

    def construct(self, x):
        bias = self.bias if self.has_bias else self.no_bias
        return self.function(x.expand_dims(2), self.weight, bias).squeeze(2)


def convolution(settings: Sequence[int], bfloat16: bool) -> Callable[..., Any]:
    """x (B, I, F, T), weight (O, I, K, L), bias (O,) -> (B, O, F', T'); `settings` as in convolution.cc."""
    by_input = operator("ConvolutionInput", settings, bfloat16=bfloat16)
    by_weight = operator("ConvolutionWeight", settings, 2, bfloat16=bfloat16)

    def gradients(x, weight, bias, out, dout):
        dweight, dbias = by_weight(dout, x, weight)
        return by_input(dout, x, weight), dweight, dbias

    return operator("Convolution", settings, bprop=gradients, bfloat16=bfloat16)


class FastDense(nn.Dense):
    """(..., I) -> (..., O), in bfloat16 only: MindSpore's own is as fast in float32."""

    bfloat16: bool

    def prepare(self) -> bool:
        if not self.bfloat16:
            return False
        self.function = dense()
        self.no_bias = ops.zeros(self.out_channels) if self.bias is None else None
        return True

    def construct(self, x):
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        y = self.function(rows, self.weight, self.bias if self.has_bias else self.no_bias)
        y = y if x.ndim == 2 else y.reshape(*x.shape[:-1], -1)
        return self.activation(y) if self.activation_flag else y


def dense() -> Callable[..., Any]:
    """x (R, I), weight (O, I), bias (O,) -> (R, O), of products that take bfloat16."""
    gradient = operator("DenseGradient", outputs=3)

    def gradients(x, weight, bias, out, dout):
        return gradient(dout, x, weight)

    return operator("Dense", bprop=gradients)


class FastProduct(functions.Product):
    """In bfloat16 only, as FastDense."""

    bfloat16: bool

    def prepare(self) -> bool:
        if not self.bfloat16:
            return False
        self.function = dense()
        return True

    def construct(self, x, weight):
        return self.function(x, weight, ops.zeros(weight.shape[0]))


def temporal_block(dilation: int, left: int, over: int, bfloat16: bool) -> Callable[..., Any]:
    """The operator that is a whole residual block of dilated convolutions over time (Conv-TasNet's).

    x (B, C, T), mask (B, 1, T) and 14 weights in the order of temporal_block.cc -> residual (B, C, T), skip, and three
    that the gradients read. `left`: frames of zeros before the first; `over`: of temporal_block.cc, the kind of norm.
    """
    gradient = operator("TemporalBlockGradient", (dilation, left, over), 15, bfloat16=bfloat16)

    def gradients(x, mask, expand, expand_bias, slope1, gain1, bias1, taps, taps_bias, slope2, gain2, bias2, residual,
                  residual_bias, skip, skip_bias, out, dout):
        dx, *dweights = gradient(dout[0], dout[1], x, mask, expand, expand_bias, slope1, gain1, bias1, taps, taps_bias,
                                 slope2, gain2, bias2, residual, residual_bias, skip, skip_bias, out[2], out[3], out[4])
        return (dx, ops.zeros_like(mask), *dweights)

    return operator("TemporalBlock", (dilation, left, over), 5, gradients, bfloat16)


def temporal_block_step(dilation: int, left: int, over: int, most: int, bfloat16: bool) -> Callable[..., Any]:
    """The same for the frames that follow others, without gradients: inputs and outputs as in temporal_block.cc.

    `most`: frames that a norm counts, at most.
    """
    return operator("TemporalBlockStep", (dilation, left, over, most), 5, bfloat16=bfloat16)


def res2net_block(settings: Sequence[int], bfloat16: bool) -> Callable[..., Any]:
    """The operator that is a whole block of ECAPA-TDNN; inputs, outputs and `settings` as in res2net_block.cc."""
    gradient = operator("Res2NetBlockGradient", settings, 17, bfloat16=bfloat16)

    def gradients(x, reduce, reduce_bias, gain1, offset1, mean1, variance1, convs, convs_bias, gain2, offset2, mean2,
                  variance2, expand, expand_bias, gain3, offset3, mean3, variance3, squeeze, squeeze_bias, excite,
                  excite_bias, out, dout):
        d = gradient(dout[0], x, reduce, reduce_bias, gain1, offset1, mean1, variance1, convs, convs_bias, gain2,
                     offset2, mean2, variance2, expand, expand_bias, gain3, offset3, mean3, variance3, squeeze,
                     squeeze_bias, excite, excite_bias, out[1], out[2], out[3], out[4], out[5], out[6])
        none, no_convs = ops.zeros_like(mean1), ops.zeros_like(mean2)       # of moving statistics
        return (d[0], d[1], d[2], d[3], d[4], none, none, d[5], d[6], d[7], d[8], no_convs, no_convs,
                d[9], d[10], d[11], d[12], none, none, d[13], d[14], d[15], d[16])

    return operator("Res2NetBlock", settings, 25, gradients, bfloat16)


class FastPReLU(functions.PReLU):
    def prepare(self) -> bool:
        gradient = operator("PReluGradient", outputs=2)

        def gradients(x, slope, out, dout):
            return gradient(dout, x, slope)

        self.function = operator("PRelu", bprop=gradients)
        return True

    def construct(self, x, slope):
        return self.function(x, slope)


class FastClippedReLU(functions.ClippedReLU):
    def prepare(self) -> bool:
        gradient = operator("ClippedReluGradient", (self.ceiling,))

        def gradients(x, out, dout):
            return (gradient(dout, x),)

        self.function = operator("ClippedRelu", (self.ceiling,), bprop=gradients)
        return True

    def construct(self, x):
        return self.function(x)


class FastMasking(functions.Masking):
    def prepare(self) -> bool:
        gradient = operator("Masking")

        def gradients(x, mask, out, dout):
            return gradient(dout, mask), ops.zeros_like(mask)

        self.function = operator("Masking", bprop=gradients)
        return True

    def construct(self, x, mask):
        return self.function(x, mask)


class FastClipping(functions.Clipping):
    """Of float32."""

    def prepare(self) -> bool:
        self.function = operator("Clipping", (self.count,), self.count + 1)
        self.most = Tensor(self.limit, ms.float32)
        return True

    def construct(self, factor, gradients):
        outputs = self.function(factor, self.most, *gradients)
        return outputs[-1], outputs[:-1]


class FastGlobalNorm(functions.GlobalNorm):
    def prepare(self) -> bool:
        gradient = operator("GlobalNormGradient", outputs=3)

        def gradients(x, gain, bias, mask, out, dout):
            return (*gradient(dout[0], x, gain, mask, out[1]), ops.zeros_like(mask))

        self.function = operator("GlobalNorm", outputs=2, bprop=gradients)
        return True

    def construct(self, x, gain, bias, mask=None):
        return self.function(x, gain, bias, ones_like(x[:, :1]) if mask is None else mask)[0]


class FastBatchNorm2d(nn.BatchNorm2d):
    """(B, C, F, T) -> same. Outside of training MindSpore's own."""

    eps: float
    momentum: float                     # of a batch
    use_batch_statistics: bool | None

    def prepare(self) -> bool:
        """False for another momentum or epsilon than PyTorch's, which the kernel has."""
        if (self.eps, round(self.momentum, 6), self.use_batch_statistics) != (1e-5, 0.1, None):
            return False
        gradient = operator("BatchNormGradient", outputs=3)

        def gradients(x, gain, offset, mean, variance, out, dout):
            return (*gradient(dout[0], x, gain, out[3]), ops.zeros_like(mean), ops.zeros_like(variance))

        self.function = operator("BatchNorm", outputs=4, bprop=gradients)
        return True

    def construct(self, x):
        if not self.training:
            return super().construct(x)
        y = self.function(x, self.gamma, self.beta, self.moving_mean, self.moving_variance)
        ops.assign(self.moving_mean, y[1])
        ops.assign(self.moving_variance, y[2])
        return y[0]


class FastTimeStatistics(functions.TimeStatistics):
    def prepare(self) -> bool:
        gradient = operator("TimeStatisticsGradient")

        def gradients(x, out, dout):
            return (gradient(dout[0], dout[1], x, out[0]),)

        self.function = operator("TimeStatistics", outputs=2, bprop=gradients)
        return True

    def construct(self, x, mask=None):
        return self.function(x) if mask is None else super().construct(x, mask)


class FastSoftmaxStatistics(functions.SoftmaxStatistics):
    def prepare(self) -> bool:
        gradient = operator("SoftmaxStatisticsGradient", outputs=2)

        def gradients(x, score, out, dout):
            return gradient(dout[0], dout[1], x, score, out[0], out[1])

        self.function = operator("SoftmaxStatistics", outputs=2, bprop=gradients)
        return True

    def construct(self, x, score):
        return self.function(x, score)


class FastBothDirections(functions.BothDirections):
    bfloat16: bool
    forward: nn.LSTM        # `prepare` takes no others
    backward: nn.LSTM

    def prepare(self) -> bool:
        """False for anything but LSTMs of one layer with biases."""
        for cell in (self.forward, self.backward):
            if not is_plain(cell):
                return False
        gradient = operator("BothDirectionsGradient", outputs=7, bfloat16=self.bfloat16)

        def gradients(x, frames, w_x, w_h, bias, back_w_x, back_w_h, back_bias, out, dout):
            dx, *dweights = gradient(dout[0], x, frames, w_x, w_h, bias, back_w_x, back_w_h, back_bias, out[1], out[2],
                                     out[3])
            return (dx, ops.zeros_like(frames), *dweights)

        self.function = operator("BothDirections", outputs=4, bprop=gradients, bfloat16=self.bfloat16)
        return True

    def construct(self, x, frames):
        ahead, back = self.forward, self.backward
        return self.function(x, frames, ahead.w_ih_list[0], ahead.w_hh_list[0],
                             ahead.b_ih_list[0] + ahead.b_hh_list[0], back.w_ih_list[0], back.w_hh_list[0],
                             back.b_ih_list[0] + back.b_hh_list[0])[0]


class FastLSTM(nn.LSTM):
    """(T, B, I) -> ((T, B, H),), without the states after it; MindSpore's own where a state before it is given."""

    bfloat16: bool

    def prepare(self) -> bool:
        if not is_plain(self):
            return False
        gradient = operator("ForwardDirectionGradient", outputs=4, bfloat16=self.bfloat16)

        def gradients(x, w_x, w_h, bias, out, dout):
            return gradient(dout[0], x, w_x, w_h, bias, out[1], out[2], out[3])

        self.function = operator("ForwardDirection", outputs=4, bprop=gradients, bfloat16=self.bfloat16)
        return True

    def construct(self, x, hx=None, seq_length=None):
        if hx is not None or seq_length is not None:
            return super().construct(x, hx, seq_length)
        return (self.function(x, self.w_ih_list[0], self.w_hh_list[0], self.b_ih_list[0] + self.b_hh_list[0])[0],)


def is_plain(cell: nn.Cell) -> bool:
    """Whether a cell is an LSTM of one layer and direction with biases, over time first."""
    return (isinstance(cell, nn.LSTM) and cell.num_layers == 1 and cell.has_bias
            and not (cell.bidirectional or cell.batch_first))


class FastCTCLoss(nn.CTCLoss):
    """Log probabilities (T, B, K), labels (B, S), frames (B,), counts (B,), all int32 -> (B,), infinite or not."""

    blank: int
    reduction: str
    zero_infinity: bool

    def prepare(self) -> bool:
        """False for anything but the loss of each utterance, with gradients of zero where it is infinite."""
        if self.reduction != "none" or not self.zero_infinity:
            return False

        def gradients(log_probs, labels, frames, counts, out, dout):
            return (out[1] * dout[0].reshape(1, -1, 1), ops.zeros_like(labels), ops.zeros_like(frames),
                    ops.zeros_like(counts))

        self.function = operator("Ctc", (self.blank,), 2, gradients)
        return True

    def construct(self, log_probs, targets, input_lengths, target_lengths):
        return self.function(log_probs, targets, input_lengths, target_lengths)[0]


class FastDepthwise(functions.Depthwise):
    def prepare(self) -> bool:
        gradient = operator("DepthwiseGradient", self.settings, 2)

        def gradients(x, weight, out, dout):
            return gradient(dout, x, weight)

        self.function = operator("Depthwise", self.settings, bprop=gradients)
        return True

    def construct(self, x, weight):
        return self.function(x, weight)


FAST: dict[type, Any] = {cell.__mro__[1]: cell for cell in (
    FastConv1d, FastConv2d, FastDense, FastProduct, FastPReLU, FastClippedReLU, FastMasking, FastClipping,
    FastGlobalNorm, FastBatchNorm2d, FastTimeStatistics, FastSoftmaxStatistics, FastBothDirections, FastLSTM,
    FastCTCLoss, FastDepthwise)}
