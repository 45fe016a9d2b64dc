"""The published networks in PyTorch, as the originals compute them, to be timed beside ours and named as ours.

ECAPA-TDNN after TaoRuijie, Conv-TasNet after asteroid, DeepSpeech2 after deepspeech.pytorch; layers of torch.nn alone.
Letters as in the model.py of each. `load` copies the weights of one of our networks.
"""
import math

import numpy as np
import torch
from torch import nn

FROM_OURS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class EcapaTdnn(nn.Module):
    """Features (B, T, 80) -> embeddings (B, E)."""

    def __init__(self, channels, mfa_channels, emb_size):
        super().__init__()
        self.stem = ConvReluNorm(80, channels, 5)
        self.blocks = nn.ModuleList([SERes2Block(channels, dilation) for dilation in (2, 3, 4)])
        self.mfa = nn.Conv1d(3 * channels, mfa_channels, 1)
        self.pool = AttentiveStatistics(mfa_channels)
        self.pool_norm = nn.BatchNorm1d(2 * mfa_channels)
        self.fc = nn.Conv1d(2 * mfa_channels, emb_size, 1)
        self.norm = nn.BatchNorm1d(emb_size)

    def forward(self, features):
        x = self.stem(features.transpose(1, 2))
        outputs = []
        for block in self.blocks:
            outputs.append(block(x))
            x = x + outputs[-1]
        x = torch.relu(self.mfa(torch.cat(outputs, 1)))
        return self.norm(self.fc(self.pool_norm(self.pool(x)).unsqueeze(2)).squeeze(2))


class SERes2Block(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.reduce, self.expand = ConvReluNorm(channels, channels), ConvReluNorm(channels, channels)
        self.convs = nn.ModuleList([ConvReluNorm(channels // 8, channels // 8, 3, dilation) for _ in range(7)])
        self.squeeze, self.excite = nn.Conv1d(channels, 128, 1), nn.Conv1d(128, channels, 1)

    def forward(self, x):
        splits = self.reduce(x).chunk(8, 1)
        y, outputs = 0, []
        for conv, split in zip(self.convs, splits, strict=False):
            y = conv(split + y)
            outputs.append(y)
        y = self.expand(torch.cat([*outputs, splits[7]], 1))
        return x + y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean(2, keepdim=True)))))


class ConvReluNorm(nn.Module):
    def __init__(self, in_channels, out_channels, kernel=1, dilation=1):
        super().__init__()
        side = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=side)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x):
        return self.norm(torch.relu(self.conv(x)))


class AttentiveStatistics(nn.Module):
    """With the statistics repeated over time, as published."""

    def __init__(self, channels):
        super().__init__()
        self.hidden = nn.Conv1d(3 * channels, 256, 1)
        self.norm = nn.BatchNorm1d(256)
        self.score = nn.Conv1d(256, channels, 1)

    def forward(self, x):
        mean, deviation = x.mean(2, keepdim=True), x.var(2, keepdim=True).clamp(min=1e-4).sqrt()
        context = torch.cat((x, mean.expand_as(x), deviation.expand_as(x)), 1)
        weight = self.score(torch.tanh(self.norm(torch.relu(self.hidden(context))))).softmax(2)
        mean = (x * weight).sum(2)
        return torch.cat((mean, ((x * x * weight).sum(2) - mean * mean).clamp(min=1e-4).sqrt()), 1)


class ConvTasNet(nn.Module):
    """Mixtures (M, S) -> sources (M, C, S), two speakers."""

    def __init__(self, config):
        super().__init__()
        filters, length = config.N, config.L
        self.stride = length // 2
        self.encoder = nn.Conv1d(1, filters, length, self.stride, bias=False)
        self.norm = GlobalNorm(filters)
        self.bottleneck = nn.Conv1d(filters, config.B, 1)
        self.blocks = nn.ModuleList([Block(config, 2 ** x) for _ in range(config.R) for x in range(config.X)])
        self.mask_prelu, self.mask = nn.PReLU(), nn.Conv1d(config.Sc or config.B, 2 * filters, 1)
        self.decoder = nn.ConvTranspose1d(filters, 1, length, self.stride, bias=False)

    def forward(self, mixture):
        x = self.encoder(mixture.unsqueeze(1))
        y, skips = self.bottleneck(self.norm(x)), 0
        for block in self.blocks:
            y, skip = block(y)
            skips = skips + skip
        masks = torch.relu(self.mask(self.mask_prelu(skips if torch.is_tensor(skips) else y))).unflatten(1, (2, -1))
        sounds = (masks * x.unsqueeze(1)).flatten(0, 1)
        return self.decoder(sounds).view(len(mixture), 2, -1)


class Block(nn.Module):
    def __init__(self, config, dilation):
        super().__init__()
        self.expand = nn.Conv1d(config.B, config.H, 1)
        self.prelu1, self.prelu2 = nn.PReLU(), nn.PReLU()
        self.norm1, self.norm2 = GlobalNorm(config.H), GlobalNorm(config.H)
        self.depthwise = nn.Conv1d(config.H, config.H, 3, padding=dilation, dilation=dilation, groups=config.H)
        self.residual = nn.Conv1d(config.H, config.B, 1)
        self.skip = nn.Conv1d(config.H, config.Sc, 1) if config.Sc else None

    def forward(self, x):
        y = self.norm1(self.prelu1(self.expand(x)))
        y = self.norm2(self.prelu2(self.depthwise(y)))
        return x + self.residual(y), self.skip(y) if self.skip is not None else 0


class GlobalNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(1, channels, 1)), nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x):
        mean = x.mean((1, 2), keepdim=True)
        variance = (x - mean).square().mean((1, 2), keepdim=True)
        return self.gain * (x - mean) / (variance + 1e-8).sqrt() + self.bias


class DeepSpeech2(nn.Module):
    """Features (B, T, 161) -> log probabilities (T', B, K); no padding."""

    def __init__(self, config):
        super().__init__()
        channels = config.conv_channels
        self.conv = nn.Module()
        self.conv.first = nn.Conv2d(1, channels, (41, 11), (2, 2), (20, 5))
        self.conv.second = nn.Conv2d(channels, channels, (21, 11), (2, 1), (10, 5))
        self.conv.first_norm, self.conv.second_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        sizes = [41 * channels] + [config.hidden_size] * (config.hidden_layers - 1)
        self.layers = nn.ModuleList([nn.LSTM(size, config.hidden_size, bidirectional=True) for size in sizes])
        self.norms = nn.ModuleList([nn.BatchNorm1d(config.hidden_size) for _ in sizes])     # the last before the output
        self.output = nn.Linear(config.hidden_size, len(config.labels), bias=False)

    def forward(self, features):
        x = self.conv.first(features.transpose(1, 2).unsqueeze(1))
        x = self.conv.first_norm(x).clamp(0, 20)
        x = self.conv.second_norm(self.conv.second(x)).clamp(0, 20)
        x = x.permute(3, 0, 1, 2).flatten(2)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = layer(x)[0]
            x = x.unflatten(2, (2, -1)).sum(2)
            x = norm(x.flatten(0, 1)).view(x.shape)
        return self.output(x).log_softmax(2)


def aam_softmax(embedding, classes, speaker, margin=0.2, scale=30.0):
    """Embeddings (B, E), classes (S, E), speakers (B,) -> mean cross entropy, as TaoRuijie computes it."""
    cosine = nn.functional.linear(nn.functional.normalize(embedding), nn.functional.normalize(classes))
    sine = (1 - cosine.square()).clamp(0, 1).sqrt()
    widened = cosine * math.cos(margin) - sine * math.sin(margin)
    widened = torch.where(cosine > -math.cos(margin), widened, cosine - margin * math.sin(margin))
    is_speaker = nn.functional.one_hot(speaker, len(classes)).bool()
    return nn.functional.cross_entropy(scale * torch.where(is_speaker, widened, cosine), speaker)


def pit_si_snr(separated, sources):
    """(M, 2, S), (M, 2, S) -> negative SI-SNR in dB of the better assignment."""
    separated, sources = (x - x.mean(2, keepdim=True) for x in (separated, sources))
    product = separated @ sources.transpose(1, 2)                                       # (M, 2, 2)
    target = product.square() / (sources.square().sum(2).unsqueeze(1) + 1e-8)
    noise = (separated.square().sum(2).unsqueeze(2) - target).clamp(min=0)
    score = 10 * ((target + 1e-8) / (noise + 1e-8)).log10()
    straight, crossed = score[:, 0, 0] + score[:, 1, 1], score[:, 0, 1] + score[:, 1, 0]
    return -(torch.maximum(straight, crossed) / 2).mean()


def loaded(model, config, path):
    """The network of `config` with the weights of one of ours, `path` an .npz of them."""
    module = {"ecapatdnn": lambda: EcapaTdnn(config.channels, config.mfa_channels, config.emb_size),
              "conv_tasnet": lambda: ConvTasNet(config), "deepspeech2": lambda: DeepSpeech2(config)}[model]().eval()
    with np.load(path, allow_pickle=False) as weights:
        return load(module, our_names(dict(weights)))


def load(module, parameters):
    """Copies `parameters` {our name: array}, strictly."""
    state, left = module.state_dict(), dict(parameters)
    with torch.no_grad():
        for name, value in state.items():
            if not name.endswith("num_batches_tracked"):
                value.copy_(_take(name, left).reshape(value.shape))
    if left:
        raise ValueError(f"{list(left)} have no place")
    return module


def _take(name, left):
    """Our parameter for PyTorch's `name`, removed from `left`."""
    if name == "decoder.weight":                                            # (L, N, 1, 1) -> (N, 1, L)
        return torch.tensor(left.pop(name))[:, :, 0, 0].T
    if name == "pool.hidden.weight":
        return torch.cat([torch.tensor(left.pop(f"pool.{part}.weight")) for part in ("hidden", "context")], 1)
    head, _, tail = name.rpartition(".")
    for ours, theirs in FROM_OURS.items():
        if tail == theirs and f"{head}.{ours}" in left:
            return torch.tensor(left.pop(f"{head}.{ours}"))
    return torch.tensor(left.pop(name))


def our_names(parameters):
    """`parameters` of one of our networks under the names of this file."""
    renamed = {}
    count = 1 + max((int(name.split(".")[1]) for name in parameters if name.startswith("layers.")), default=0)
    for name, value in parameters.items():
        name = name.replace("res2net.convs", "convs").replace(".se.", ".").replace(".slope", ".weight")
        if name.startswith("mfa."):
            name = name.replace("mfa.conv", "mfa")
        parts = name.split(".")
        if parts[0] == "layers":
            index, way = int(parts[1]), "_reverse" if "backward" in parts else ""
            name = f"norms.{index - 1}.{parts[-1]}" if parts[2] == "norm" else f"layers.{index}.{parts[-1]}{way}"
        elif name.startswith("norm.norm."):
            name = f"norms.{count - 1}.{parts[-1]}"
        renamed[name] = value
    return renamed
