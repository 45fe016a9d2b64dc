"""Sounds with known facts."""
import numpy as np

RATE = 16000     # Hz


def speech(seconds, rng):
    """Noise whose level goes up and down as that of syllables does."""
    moments = np.arange(int(seconds * RATE)) / RATE
    return (0.1 * (1.2 + np.sin(2 * np.pi * 4 * moments)) * rng.normal(size=len(moments))).astype(np.float32)
