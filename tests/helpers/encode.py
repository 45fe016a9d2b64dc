"""Audio files of the formats that libsndfile does not write, and of files written to a pipe, made with PyAV."""
import av
import numpy as np


class Pipe:
    """What a muxer may write to and not go back in."""

    def __init__(self):
        self.content = bytearray()

    def write(self, data):
        self.content += data
        return len(data)


def encode(path, samples, rate, codec, form=None, pipe=False, channels=1, **options):
    """Writes `path` from samples (n,) in [-1, 1], the same in all channels; returns it as text.

    `form`: the container, by default that of the name. `options` are the muxer's. `pipe`: as to standard output.
    """
    target, layout = Pipe() if pipe else str(path), "mono" if channels == 1 else "stereo"
    with av.open(target, "w", format=form, options={name: str(value) for name, value in options.items()}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        values = np.repeat(np.round(samples * 32767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    if pipe:
        path.write_bytes(target.content)
    return str(path)
