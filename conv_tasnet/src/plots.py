"""Pictures of a separation."""
import matplotlib.pyplot as plt
import numpy as np

from utils.files import StrPath
from utils.plots import save_figure

FLOOR = -70   # dB under the loudest point that is shown


def draw_separation(mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray, rate: int, path: StrPath) -> None:
    """Spectrograms of a mixture (S,), and below it of each speaker: separated (C, S) and true (C, S)."""
    rows = [(mixture, "mixture"), (None, "")]
    for i, (speaker, source) in enumerate(zip(separated, sources, strict=True), 1):
        rows += [(speaker, f"separated {i}"), (source, f"true {i}")]
    figure, axes = plt.subplots(len(rows) // 2, 2, figsize=(9, 1.1 * len(rows)), squeeze=False)
    for axis, (samples, title) in zip(axes.flat, rows, strict=True):
        if samples is None:
            axis.axis("off")
            continue
        spectrum, _, _, image = axis.specgram(samples, NFFT=256, noverlap=192, Fs=rate, scale="dB", cmap="magma")
        top = 10 * np.log10(spectrum.max() + 1e-20)
        image.set_clim(top + FLOOR, top)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_ylabel("Hz", fontsize=7)
    save_figure(figure, path)
