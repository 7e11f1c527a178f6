"""Sounds are the numbers that torchaudio gives, in the shape of the input, and what does not fit is one line."""

import struct
import sys
from contextlib import suppress

import numpy as np
import pytest
from networks import network
from scipy.io import wavfile

from qengine.data.audio import header_of, read_sound
from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError
from qengine.model.loader import load

RATE = 16000


def graph(*shape):
    return load(network([("Relu", "x", "y")], inputs={"x": list(shape)}))


def wav(path, samples, rate=RATE):
    wavfile.write(path, rate, samples)
    return str(path)


def wav_of_24_bits(path, values):
    data = b"".join(int(v).to_bytes(3, "little", signed=True) for v in values)
    form = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 3, 3, 24)
    chunks = b"WAVE" + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (np.uint8([0, 64, 128, 255]), [-1, -0.5, 0, 127 / 128]),
        (np.int16([-32768, -1, 0, 32767]), [-1, -1 / 32768, 0, 32767 / 32768]),
        (np.int32([-(2**31), 2**30, 0, 1 << 8]), [-1, 0.5, 0, 2.0**-23]),
        (np.float32([-1, 0.25, 1.5, 0]), [-1, 0.25, 1.5, 0]),
        (np.float64([-1, 0.25, 1.5, 0]), [-1, 0.25, 1.5, 0]),
    ],
)
def test_samples(tmp_path, samples, wanted):
    wav(tmp_path / "a.wav", samples)
    found = read_sound(tmp_path / "a.wav")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([wanted]))
    assert header_of(tmp_path / "a.wav").described().startswith("16,000 samples a second, mono, ")


def test_samples_of_24_bits(tmp_path):
    wav_of_24_bits(tmp_path / "a.wav", [-(2**23), 2**22, 0, 1, 2**23 - 1])
    np.testing.assert_array_equal(read_sound(tmp_path / "a.wav"), [[-1, 0.5, 0, 2.0**-23, 1 - 2.0**-23]])


STEREO = np.int16([[0, 16384], [16384, 0], [-16384, 0]])


@pytest.mark.parametrize(
    ("shape", "samples", "convert", "wanted"),
    [
        (("N", 3), STEREO[:, 0], (), [[0, 0.5, -0.5]]),
        (("N", "T"), STEREO[:, 0], (), [[0, 0.5, -0.5]]),
        (("N", 1, 3), STEREO[:, 0], (), [[[0, 0.5, -0.5]]]),
        (("N", 3, 1), STEREO[:, 0], (), [[[0], [0.5], [-0.5]]]),
        (("N", 2, "T"), STEREO, (), [[[0, 0.5, -0.5], [0.5, 0, 0]]]),
        (("N", 3), STEREO, ("mono",), [[0.25, 0.25, -0.25]]),
        (("N", 5), STEREO[:, 0], ("length",), [[0, 0.5, -0.5, 0, 0]]),
        (("N", 1, 2), STEREO[:, 0], ("length",), [[[0, 0.5]]]),
    ],
)
def test_shapes_of_inputs(tmp_path, shape, samples, convert, wanted):
    path = wav(tmp_path / "a.wav", samples)
    for data in (path, str(tmp_path)):
        (feeds,) = open_dataset(data, graph(*shape), preprocessing=Preprocessing(convert=convert))
        np.testing.assert_array_equal(feeds["x"], np.float32(wanted))


def test_class_folders_of_sounds(tmp_path):
    for i, name in enumerate(("yes/a.wav", "yes/b.wav", "no/a.wav", "_background_noise_/README.md")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        wav(tmp_path / name, np.int16([i, 0])) if name.endswith(".wav") else (tmp_path / name).write_text("")
    found = open_dataset(str(tmp_path), graph("N", 1, 2), batch=4)
    assert (found.labels.tolist(), found.classes, found.reads_pixels) == ([0, 1, 1], ("no", "yes"), False)
    assert "sounds: 16,000 samples a second, mono, 16 bits, 2 samples" in found.notes
    wav(tmp_path / "no" / "z.wav", np.int16([0, 0]), 8000)
    with pytest.raises(QEngineError, match=r"z\.wav has 8,000 samples a second, and .*a\.wav 16,000"):
        list(open_dataset(str(tmp_path), graph("N", 1, 2)))


@pytest.mark.parametrize(
    ("shape", "samples", "message"),
    [
        (("N", 4), STEREO[:, 0], "has 3 samples, and 4 are needed; give --convert length"),
        (("N", 3), STEREO, "has 2 channels, and 1 are needed; give --convert mono"),
        (("N", 2, 3), STEREO[:, 0], "has 1 channels, and 2 are needed$"),
        (("N", 1, 40, 98), STEREO, "compute the features that the network takes, such as a spectrogram, .* as .npy"),
        (("N", 40, 98), STEREO, "compute the features"),
    ],
)
def test_what_does_not_fit(tmp_path, shape, samples, message):
    path = wav(tmp_path / "a.wav", samples)
    with pytest.raises(QEngineError, match=message):
        list(open_dataset(path, graph(*shape)))


def test_hostile_files(tmp_path):
    path = tmp_path / "a.wav"
    wav(path, np.arange(100, dtype=np.int16))
    whole = path.read_bytes()
    table = {
        whole[:20]: "is cut short",
        whole[:100]: "is cut short",
        b"RIFX" + whole[4:]: "damaged|cut short|compressed|no samples",
        whole[:40] + b"\xff\xff\xff\xff" + whole[44:]: "is cut short: 4,294,967,295 bytes",
        whole[:20] + b"\x55\x00" + whole[22:]: r"is compressed \(format 85\)",
        whole[:22] + b"\x00\x00" + whole[24:]: "damaged header",
        b"": "is not a .wav file",
        b"\0" * 200: "is not a .wav file",
    }
    for content, message in table.items():
        path.write_bytes(content)
        with pytest.raises(QEngineError, match=message):
            read_sound(path)
    for i in range(44):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        with suppress(QEngineError):  # and nothing else
            read_sound(path)
    path.write_bytes(whole)
    with pytest.raises(QEngineError, match="has 100 elements, more than 99"):
        read_sound(path, 99)


def test_without_scipy(tmp_path, monkeypatch):
    path = wav(tmp_path / "a.wav", np.int16([1]))
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(QEngineError, match=r"needs SciPy to be read: pip install 'qengine\[audio\]'"):
        list(open_dataset(path, graph("N", 1)))
