"""A convolution over frequency and time whose gradients are fast on a CPU.

MindSpore's own gradients of a wide kernel take three times as long as their arithmetic would. Here each is one product
of matrices. Where the stride is 2, pairs of neighbours become channels, which leaves stride 1; stretches of frequency
become rows of a matrix, and the taps in time its columns.

Letters: B utterances, C channels (I in, O out), F frequency bins, T frames, K x L taps over frequency x time.
"""
import mindspore as ms
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Uniform, initializer


class Conv(nn.Cell):
    """(B, I, F, T) -> (B, O, F', T'); strides 1 or 2, zeros at all four ends, kernels of odd size kept central."""

    def __init__(self, in_channels, out_channels, kernel, stride):
        super().__init__()
        padding = tuple(size // 2 for size in kernel)
        bound = Uniform((in_channels * kernel[0] * kernel[1]) ** -0.5)     # as PyTorch draws them
        self.weight = Parameter(initializer(bound, (out_channels, in_channels, *kernel)))
        self.bias = Parameter(initializer(bound, (out_channels,)))
        self.operator = ops.Conv2D(out_channels, kernel, pad_mode="pad", stride=stride,
                                   pad=(padding[0], padding[0], padding[1], padding[1]))
        self.by_products = ms.get_context("device_target") == "CPU"
        self.products = _Conv(kernel, stride, padding)

    def construct(self, x):
        function = self.products if self.by_products and self.training else self.operator
        return ops.bias_add(function(x, self.weight), self.bias)


class _Conv(nn.Cell):
    """The convolution and its gradients as products of the same matrices."""

    def __init__(self, kernel, stride, padding):
        super().__init__()
        self.stride = stride
        # ops.matmul would copy what it transposes
        self.inner_product, self.outer_product = ops.MatMul(transpose_a=True), ops.MatMul(True, True)
        # zeros before, so that pairs begin where a kernel does; taps in whole pairs
        self.before = tuple(-(-pad // step) * step for pad, step in zip(padding, stride, strict=True))
        self.shift = tuple(begin - pad for begin, pad in zip(self.before, padding, strict=True))
        self.taps = tuple(-(-(size + shift) // step) for size, shift, step in
                          zip(kernel, self.shift, stride, strict=True))

    def construct(self, x, weight):
        frequencies, frames = (x.shape[2] - 1) // self.stride[0] + 1, (x.shape[3] - 1) // self.stride[1] + 1
        patches = self.patches(x, frequencies, frames + self.taps[1] - 1)   # which the gradient needs too
        y = self.outer_product(self.as_matrix(weight), patches)             # (L O, B (T' + L - 1) F')
        size = (x.shape[0], frames, frequencies)
        y = y.reshape(self.taps[1], -1, size[0], frames + self.taps[1] - 1, frequencies)
        total = 0.0
        for tap in range(self.taps[1]):
            total = total + ops.slice(y, (tap, 0, 0, tap, 0), (1, y.shape[1], *size))
        return total.squeeze(0).transpose(1, 0, 3, 2)                       # (B, O, F', T')

    def bprop(self, x, weight, out, dout):
        frequencies, frames = out.shape[2:]
        patches = self.patches(x, frequencies, frames + self.taps[1] - 1)
        d = self.by_tap(dout)                                           # (B (T' + L - 1) F', L O)
        dweight = self.inner_product(patches, d)
        dpatches = ops.matmul(d, self.as_matrix(weight).transpose(1, 0))
        return self.add_patches(dpatches, x.shape, frequencies, frames), self.as_kernel(dweight, weight)

    def patches(self, x, frequencies, frames):
        """(B, I, F, T) -> rows (B T F', K I) of the stretches of frequency under the kernel, from its first frame."""
        x = self.pairs(x, frequencies + self.taps[0] - 1, frames)
        rows = ()
        size = x.shape[:2] + (frequencies, x.shape[3])
        for tap in range(self.taps[0]):
            rows += (ops.slice(x, (0, 0, tap, 0), size),)
        x = ops.cat(rows, 3)
        return x.reshape(-1, x.shape[3])

    def pairs(self, x, frequencies, frames):
        """(B, I, F, T), padded -> (B, frames, frequencies, I): neighbours within a stride are channels."""
        (high, wide), (batch, channels) = self.stride, x.shape[:2]
        bottom = frequencies * high - x.shape[2] - self.before[0]
        right = frames * wide - x.shape[3] - self.before[1]
        x = pad(pad(x, 3, self.before[1], right), 2, self.before[0], bottom)
        x = x.reshape(batch, channels, frequencies, high, frames, wide)
        return x.transpose(0, 4, 2, 3, 5, 1).reshape(batch, frames, frequencies, -1)

    def by_tap(self, dout):
        """(B, O, F', T') -> (B (T' + L - 1) F', L O): what each tap in time passes on to the frames before it."""
        dout = dout.transpose(0, 3, 2, 1)                               # (B, T', F', O)
        columns, last = (), self.taps[1] - 1
        size = (dout.shape[0], dout.shape[1] + last) + dout.shape[2:]
        dout = pad(dout, 1, last, last)
        for tap in range(self.taps[1]):
            columns += (ops.slice(dout, (0, last - tap, 0, 0), size),)
        d = ops.cat(columns, 3)
        return d.reshape(-1, d.shape[3])

    def as_matrix(self, weight):
        """(O, I, K, L) -> (K' I', L' O) for taps and channels of the pairs."""
        outputs, inputs = weight.shape[:2]
        (high, wide), (tall, long) = self.stride, self.taps
        weight = pad(weight, 3, self.shift[1], long * wide - weight.shape[3] - self.shift[1])
        weight = pad(weight, 2, self.shift[0], tall * high - weight.shape[2] - self.shift[0])
        weight = weight.reshape(outputs, inputs, tall, high, long, wide)
        return weight.transpose(2, 3, 5, 1, 4, 0).reshape(tall * high * wide * inputs, long * outputs)

    def as_kernel(self, matrix, weight):
        """The inverse of `as_matrix`, for the gradient of `weight`."""
        outputs, inputs = weight.shape[:2]
        (high, wide), (tall, long) = self.stride, self.taps
        kernel = matrix.reshape(tall, high, wide, inputs, long, outputs).transpose(5, 3, 0, 1, 4, 2)
        kernel = kernel.reshape(outputs, inputs, tall * high, long * wide)
        return ops.slice(kernel, (0, 0, *self.shift), weight.shape)

    def add_patches(self, rows, shape, frequencies, frames):
        """The gradient (B, I, F, T) of x from that of its patches."""
        (batch, inputs), (high, wide), last = shape[:2], self.stride, self.taps[0] - 1
        frames = frames + self.taps[1] - 1
        rows = rows.reshape(batch, frames, frequencies, self.taps[0], -1)
        total = 0.0
        for tap, row in enumerate(ops.unstack(rows, 3)):
            total = total + pad(row, 2, tap, last - tap)
        x = total.reshape(batch, frames, frequencies + last, high, wide, inputs).transpose(0, 5, 2, 3, 1, 4)
        x = x.reshape(batch, inputs, (frequencies + last) * high, frames * wide)
        return ops.slice(x, (0, 0, *self.before), shape)


def pad(x, axis, before, after):
    """Zeros at both ends of `axis`."""
    head, tail = x.shape[:axis], x.shape[axis + 1:]
    return ops.cat((ops.zeros(head + (before,) + tail, x.dtype), x, ops.zeros(head + (after,) + tail, x.dtype)), axis)
