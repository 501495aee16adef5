"""Spoken words for the fine-tuning of a voice encoder: 24 words, made by a synthesiser in many voices, with noise.

    python bench/bounds/speech.py FOLDER    # needs Debian's espeak-ng; writes FOLDER/speech.npz in a minute

x   (examples, 100 frames, 40 channels) spectrograms, as the voice encoder of the package resemblyzer takes them
y   which word; the last 768 examples are held out, and spoken by voices that the others are not
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly
from transformers.audio_utils import mel_filter_bank

WORDS = (
    *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("cat", "bird", "tree", "house"),
)
KINDS = ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3")
HELD_OUT = ("m7", "f4")  #: voices of the held-out examples
SPEEDS, PITCHES = (120, 145, 170, 200), (25, 45, 65, 85)
RATE, FRAMES = 16_000, 100
HEADER, HEARD = 44, 22_050  #: bytes before the samples, and samples a second, of what the synthesiser writes
NOISE = 0.02  #: standard deviation of the noise, for a loudest sample of 1
FILTERS = mel_filter_bank(201, 40, 0, 8000, RATE, norm="slaney", mel_scale="slaney")


def spoken(word: str, kind: str, speed: int, pitch: int) -> np.ndarray:
    """One second of a word: 16,000 samples from -1 to 1."""
    command = ["espeak-ng", "-v", f"en-us+{kind}", "-s", str(speed), "-p", str(pitch), "--stdout", word]
    said = subprocess.run(command, check=True, capture_output=True).stdout[HEADER:]
    wave = resample_poly(np.frombuffer(said, "<i2").astype(np.float64), RATE, HEARD)[:RATE]
    return np.pad(wave / np.abs(wave).max(), (0, RATE - len(wave)))


def spectrogram(waves: np.ndarray) -> np.ndarray:
    """The energies of 40 bands in steps of 10 ms."""
    windows = torch.hann_window(400, dtype=torch.float64)
    power = torch.stft(torch.tensor(waves), 400, 160, window=windows, return_complex=True).abs() ** 2
    return (power.numpy().transpose(0, 2, 1) @ FILTERS)[:, :FRAMES].astype(np.float32)


def main() -> None:
    folder, random = Path(sys.argv[1]), np.random.default_rng(0)
    parts = []
    for kinds in (KINDS, HELD_OUT):
        said = list(itertools.product(range(len(WORDS)), kinds, SPEEDS, PITCHES))
        with ThreadPoolExecutor(4) as pool:
            waves = np.array(list(pool.map(lambda one: spoken(WORDS[one[0]], *one[1:]), said)))
        order = random.permutation(len(said))
        waves = waves[order] + NOISE * random.standard_normal(waves.shape)
        parts.append((spectrogram(waves), np.array([said[place][0] for place in order])))
    (x, y), (held_x, held_y) = parts
    np.savez_compressed(folder / "speech.npz", x=np.concatenate([x, held_x]), y=np.concatenate([y, held_y]))


if __name__ == "__main__":
    main()
