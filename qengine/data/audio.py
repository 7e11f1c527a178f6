"""Sounds: reading a .wav file as float32 numbers in [-1, 1), as torchaudio does.

SciPy decodes the samples; it is Python, and a damaged file cannot make it crash. Before it does, the chunks of the file
are compared with its size, and a header cannot request more memory than the file has bytes.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, OptionError, first_line
from qengine.input_files import Encoded, open_input
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Value

SUFFIXES = frozenset({".wav"})
"""Endings of the names of sound files that are read."""

_FORMATS = {1: "PCM", 3: "float", 0xFFFE: "extensible"}
_MONO_OR_STEREO = (1, 2)


@dataclass(frozen=True)
class Header:
    """Header of a .wav file.

    Attributes
    ----------
    rate : samples a second.
    channels : number of channels.
    bits : bits of a sample.
    frames : number of samples in each channel.
    """

    rate: int
    channels: int
    bits: int
    frames: int

    def described(self) -> str:
        """Return the header in words of one line."""
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{self.rate:,} samples a second, {channels}, {self.bits} bits, {self.frames:,} samples"


def header_of(path: Path | Encoded) -> Header:
    """Return the header of a .wav file.

    Raises
    ------
    FeedError
        If the file is none, is damaged, or is of a kind that is not read.
    """
    try:
        with open_input(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            start = file.read(12)
            if len(start) < 12 or start[:4] not in (b"RIFF", b"RIFX") or start[8:] != b"WAVE":
                raise FeedError(f"sound {path} is not a .wav file")
            order = "<" if start[:4] == b"RIFF" else ">"
            form: tuple[int, ...] | None = None
            while True:
                head = file.read(8)
                if len(head) < 8:
                    raise FeedError(f"sound {path} holds no samples")
                length = struct.unpack(f"{order}I", head[4:])[0]
                if file.tell() + length > size:
                    raise FeedError(f"sound {path} is cut short: {length:,} bytes are announced where it ends")
                if head[:4] == b"data":
                    break
                if head[:4] == b"fmt ":
                    if length < 16:
                        raise FeedError(f"sound {path} has a damaged header")
                    form = struct.unpack(f"{order}HHIIHH", file.read(16))
                    length -= 16
                file.seek(length + length % 2, os.SEEK_CUR)
    except OSError as error:
        raise FeedError(f"sound {path} cannot be read: {error.strerror or error}") from None
    if form is None:
        raise FeedError(f"sound {path} has no header before its samples")
    kind, channels, rate, _, block, bits = form
    if kind not in _FORMATS:
        raise FeedError(f"sound {path} is compressed (format {kind}): convert it to PCM")
    if not (channels and rate and bits) or block != channels * -(-bits // 8) or bits not in (8, 16, 24, 32, 64):
        raise FeedError(f"sound {path} has a damaged header: {channels} channels of {bits} bits in {block} bytes")
    return Header(rate, channels, bits, length // block)


def read_sound(path: Path | Encoded, max_elements: int = MAX_ELEMENTS) -> NDArray[np.float32]:
    """Return the samples of a .wav file as float32 (channels, samples): integers divided by the largest, below 1.

    Raises
    ------
    QEngineError
        If the file cannot be read, is too large, or SciPy is not installed.
    """
    header = header_of(path)
    if (count := header.frames * header.channels) > max_elements:
        raise FeedError(f"sound {path} has {count:,} elements, more than {max_elements:,} (--max-elements)")
    try:
        from scipy.io import wavfile
    except ImportError:
        raise OptionError(f"sound {path} needs SciPy to be read: pip install 'qengine[audio]'") from None
    try:
        with open_input(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about chunks that hold no samples
            _, samples = wavfile.read(io.BytesIO(file.read()))
    except Exception as error:  # SciPy has no error of its own for damage
        raise FeedError(f"sound {path} cannot be read: {first_line(error)}") from None
    planes = np.atleast_2d(np.asarray(samples).T)
    if planes.dtype == np.uint8:
        return ((planes.astype(np.float32) - 128) / 128).astype(np.float32)
    if planes.dtype.kind == "i":  # 24 bits stand in the high bits of 32
        return (planes.astype(np.float64) / 2.0 ** (8 * planes.dtype.itemsize - 1)).astype(np.float32)
    return planes.astype(np.float32)


def sound_for(path: Path | Encoded, declared: Value, convert: Collection[str], max_elements: int) -> NDArray[Any]:
    """Return the samples of a .wav file in the shape of an input, for one sample of it.

    Parameters
    ----------
    path
        The file.
    declared
        The input: [N, samples], [N, channels, samples] or [N, samples, channels] with 1 or 2 channels, or [samples].
    convert
        Names in `CONVERSIONS`: "mono" averages channels, "length" cuts sounds at the end or fills them with zeros.
    max_elements
        Limit on the number of elements.

    Raises
    ------
    QEngineError
        If the input takes no sound, or the sound does not fit it.
    """
    shape = declared.shape if declared.shape is not None else (None, None)
    length, channels, is_last = _axes(path, shape)
    if declared.dtype is not None and declared.dtype.kind != "f":
        raise FeedError(f"it takes {declared.dtype}, and a sound is numbers between -1 and 1: {path}")
    planes = read_sound(path, max_elements)
    if channels is not None and len(planes) != channels:
        if "mono" not in convert or channels != 1:
            remedy = "; give --convert mono, which averages them" if channels == 1 else ""
            raise FeedError(f"sound {path} has {len(planes)} channels, and {channels} are needed{remedy}")
        planes = planes.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    if isinstance(length, int) and planes.shape[1] != length:
        if "length" not in convert:
            raise FeedError(
                f"sound {path} has {planes.shape[1]:,} samples, and {length:,} are needed; give --convert length, "
                "which cuts it at the end or fills it with zeros"
            )
        planes = np.pad(planes[:, :length], ((0, 0), (0, max(0, length - planes.shape[1]))))
    array = planes[0] if len(shape) < 3 else planes.T if is_last else planes
    array = array[None] if len(shape) > 1 else array
    return array.astype(declared.dtype or np.float32)


def _axes(path: Path | Encoded, shape: tuple[Any, ...]) -> tuple[Any, int | None, bool]:
    """Return the number of samples and of channels that an input needs, None for any, and whether channels are last."""
    if len(shape) in (1, 2):
        return shape[-1], 1, False
    if len(shape) == 3:
        first, last = shape[1], shape[2]
        if last in _MONO_OR_STEREO and first not in _MONO_OR_STEREO:
            return first, last, True
        if not isinstance(first, int) or first in _MONO_OR_STEREO:
            return last, first if isinstance(first, int) else None, False
    lengths = ", ".join("?" if n is None else str(n) for n in shape)
    raise FeedError(
        f"it has the shape [{lengths}], and a sound is [N, samples] or [N, channels, samples]: compute the features "
        f"that the network takes, such as a spectrogram, and give them as .npy instead of {path}"
    )
