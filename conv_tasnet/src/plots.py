"""Pictures of a separation: spectrograms in which each speaker has a colour."""
from collections.abc import Sequence

import numpy as np
import scipy.signal
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from utils.files import StrPath
from utils.plots import card

FLOOR = -58     # dB under the loudest point that is shown
COLORS = ("#38d9f5", "#ff922b", "#b2f23a", "#f783ff", "#ffffff")


def draw_separation(mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray | None, rate: int,
                    path: StrPath) -> None:
    """Spectrograms of a mixture (S,) and below it of each speaker: separated (C, S), and true (C, S) where known."""
    columns = 1 if sources is None else 2
    with card(path, 1 + len(separated), columns, sharex=True, sharey=True) as (figure, axes):
        powers = [_power(speaker, rate) for speaker in separated]
        seconds = len(mixture) / rate
        _show(axes[0, 0], "mixture", _power(mixture, rate), powers, seconds, rate)
        for number, (power, row) in enumerate(zip(powers, axes[1:], strict=True)):
            alone = [power if other == number else np.zeros_like(power) for other in range(len(powers))]
            _show(row[0], f"separated, {number + 1}", power, alone, seconds, rate)
            if sources is not None:
                true = _power(sources[number], rate)
                _show(row[1], f"true, {number + 1}", true, [np.zeros_like(true)] * number + [true], seconds, rate)
        if sources is not None:
            axes[0, 1].axis("off")
        for axis in axes[-1]:
            axis.set_xlabel("seconds")
        figure.supylabel("kHz", fontsize=16)


def _power(samples: np.ndarray, rate: int) -> np.ndarray:
    """(S,) -> power spectrogram (frequencies, frames), 32 ms windows."""
    window = rate * 32 // 1000
    return np.square(np.abs(scipy.signal.stft(samples, rate, nperseg=window, noverlap=window * 7 // 8)[2]))


def _show(axis: Axes, title: str, power: np.ndarray, speakers: Sequence[np.ndarray], seconds: float,
          rate: int) -> None:
    """How loud each point of `power` is as its brightness, and whose it is, by the power of each speaker, as colour."""
    decibels = 10 * np.log10(power + 1e-20)
    brightness = np.clip((decibels - decibels.max()) / -FLOOR + 1, 0, 1)
    shares = np.stack(speakers) / (np.sum(speakers, axis=0) + 1e-20)
    colors = np.array([to_rgb(COLORS[number % len(COLORS)]) for number in range(len(speakers))])
    picture = brightness[..., None] * np.einsum("sft,sc->ftc", shares, colors)
    axis.imshow(np.clip(picture, 0, 1), origin="lower", aspect="auto", extent=(0, seconds, 0, rate / 2000))
    axis.text(0.012, 0.93, title, transform=axis.transAxes, va="top", color="white", fontweight="bold")
