"""What is around the speakers of a mixture made at random: silence of some, pauses, a room, noise.

The target of the separation is what each speaker gives at the microphone, the echoes of the room with it, but not the
noise. So speakers add up to the mixture without its noise, which their levels (level.py) rest on, and the network is
asked to separate, not to take the room away as well, for which one of its size has no room (Maciejewski et al.,
"WHAMR!", arXiv:1910.10279, compares both).

Imports no MindSpore: data workers do without. Letters as in model.py.
"""
from typing import NamedTuple

import numpy as np

from conv_tasnet.src.config import Config
from utils.audio import audio_file, augment
from utils.corpora.lists import read_noises, read_rooms
from utils.errors import SettingError

PART = (0.25, 0.75)     # of a mixture, in which a speaker speaks who pauses: two of them share none or up to half of it
KEPT_SECONDS = 1000     # of noise in memory, 32 MB a data worker at 8 kHz
FADE = 0.01             # seconds at the ends of what is cut from a file, where a speaker pauses


class Scene(NamedTuple):
    """What is drawn of a mixture before its speakers."""

    voices: int             # that are not silent
    lengths: list[int]      # samples of each, up to all of the mixture
    responses: list[str]    # the places of the voices in a room; empty: none
    has_noise: bool


class Scenes:
    """Draws scenes as the settings say; nothing is drawn for what they leave out."""

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.snr_min > config.snr_max:
            raise SettingError(f"snr_min: found {config.snr_min}, expected at most snr_max, {config.snr_max}")
        if config.one_voice_share and config.loss == "si_snr":
            raise SettingError(f"one_voice_share: found {config.one_voice_share}, but the SI-SNR of silent sources is "
                               "not defined; add --loss snr")
        self.noises = read_noises(config.noise_list, config.scene_path)
        self.kept = audio_file.Recordings(config.sample_rate, KEPT_SECONDS)
        self.rooms = read_rooms(config.room_list, config.scene_path)

    def describe(self) -> list[str]:
        """What the log says of them."""
        config, parts = self.config, []
        if config.one_voice_share:
            parts.append(f"{config.one_voice_share:.0%} with one voice")
        if config.partial_share:
            parts.append(f"{config.partial_share:.0%} with pauses")
        if self.rooms:
            parts.append(f"{config.room_share:.0%} in one of {len(self.rooms)} rooms")
        if self.noises:
            parts.append(f"{config.noise_share:.0%} with noise of {len(self.noises)} recordings at "
                         f"{config.snr_min:g} to {config.snr_max:g} dB")
        return parts

    def draw(self, samples: int, generator: np.random.Generator) -> Scene:
        """The scene of a mixture of so many samples."""
        config = self.config

        def happens(share):
            return bool(share) and generator.random() < share

        voices = 1 if happens(config.one_voice_share) else config.C
        lengths = [samples] * voices
        if happens(config.partial_share):
            lengths = [round(samples * generator.uniform(*PART)) for _ in range(voices)]
        responses = []
        if self.rooms and happens(config.room_share):
            responses = augment.draw_readable(lambda: self._places(voices, generator))
        return Scene(voices, lengths, responses, bool(self.noises) and happens(config.noise_share))

    def mix(self, scene: Scene, sources: np.ndarray,
            generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(mixture (S,), sources (C, S)) of dry sources (C, S): with the scene's room and noise, none beyond 1."""
        sources = sources.copy()
        for i, path in enumerate(scene.responses):
            sources[i] = augment.reverberate(sources[i], augment.read_response(path, self.config.sample_rate))
        noise = self._noise(sources.sum(axis=0), generator) if scene.has_noise else np.float32(0)
        peak = max(np.abs(sources.sum(axis=0) + noise).max(), np.abs(sources).max())
        scale = max(np.float32(1), peak)
        sources /= scale
        return sources.sum(axis=0) + noise / scale, sources

    def remix(self, sources: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """As `mix`, of the sources of a fixed mixture and a scene drawn for them: with its pauses and levels, too."""
        scene = self.draw(sources.shape[1], generator)
        remixed = np.zeros_like(sources)
        for i, length in enumerate(scene.lengths):
            gain = 10 ** (generator.uniform(-1, 1) * self.config.gain_range / 20)
            remixed[i] = np.float32(gain) * self._part(sources[i], length, generator)
        return self.mix(scene, remixed, generator)

    def _places(self, voices, generator):
        """The responses of so many places in a room. AudioError where one cannot be read."""
        room = self.rooms[int(generator.integers(len(self.rooms)))]
        # most responses that one can get are the only one of their room: then all speak in the same place
        places = [room[place] for place in generator.choice(len(room), voices, replace=len(room) < voices)]
        for path in places:
            augment.read_response(path, self.config.sample_rate)        # which keeps it
        return places

    def _part(self, source, length, generator):
        """`source` (S,) silent but for `length` samples at random."""
        if length == len(source):
            return source

        def part():
            kept, start = np.zeros_like(source), int(generator.integers(len(source) - length + 1))
            kept[start:start + length] = augment.fade_ends(source[start:start + length],
                                                           round(FADE * self.config.sample_rate))
            return kept

        return augment.draw_sound(part)

    def _noise(self, speech, generator):
        """Noise (S,) for the sum of the sources (S,)."""
        noise = augment.draw_noise(self.noises, self.kept, len(speech), generator)
        return augment.noise_at_snr(speech, noise, generator.uniform(self.config.snr_min, self.config.snr_max))
