"""Data sets are what their files hold, lazily and again, and what does not fit is one line."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from networks import network
from PIL import Image

from qengine import InferenceSession, calibrate, zoo
from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError, QEngineError
from qengine.model.loader import load

RNG = np.random.default_rng(5)
OPEN = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 5]}))
GREY = load(network([("Relu", "x", "y")], inputs={"x": ["N", 1, 4, 5]}))
FIXED = load(network([("Relu", "x", "y")], inputs={"x": [4, 3, 4, 5]}))
TWO = load(network([("Add", "a b", "y")], inputs={"a": ["N", 3], "b": ["N", 3]}))
SHAPED = load(network([("Reshape", "x s", "y")], inputs={"x": ["N", 6], "s": (np.int64, [2])}))
X = RNG.normal(size=(10, 3, 4, 5)).astype(np.float32)


def npz(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **arrays)
    return str(path)


def stacked(dataset, name="x"):
    return np.concatenate([feeds[name] for feeds in dataset])


# .npz


@pytest.mark.parametrize("key", ["x", "in:x", "input", "images", "data"])
def test_an_npz(tmp_path, key):
    found = open_dataset(npz(tmp_path, **{key: X}), OPEN)
    assert (len(found), found.names, found.labels) == (10, ("x",), None)
    for _ in range(2):  # it can be read again
        np.testing.assert_array_equal(stacked(found), X)
    assert [feeds["x"].shape for feeds in found] == [(1, 3, 4, 5)] * 10


@pytest.mark.parametrize(
    ("batch", "limit", "sizes"),
    [(None, None, [1] * 10), (4, None, [4, 4, 2]), (4, 5, [4, 1]), (50, 99, [10]), (1, 2, [1, 1])],
)
def test_batches_and_limits(tmp_path, batch, limit, sizes):
    labels = np.arange(10) % 3
    target = RNG.normal(size=(10, 3, 4, 5)).astype(np.float32)
    found = open_dataset(npz(tmp_path, x=X, labels=labels, target=target), OPEN, batch=batch, limit=limit)
    batches = list(found.batches())
    assert [one.count for one in batches] == sizes
    assert len(found) == sum(sizes)
    np.testing.assert_array_equal(np.concatenate([one.feeds["x"] for one in batches]), X[: len(found)])
    np.testing.assert_array_equal(np.concatenate([one.labels for one in batches]), labels[: len(found)])
    np.testing.assert_array_equal(np.concatenate([one.targets["y"] for one in batches]), target[: len(found)])
    np.testing.assert_array_equal(found.labels, labels[: len(found)])


def test_a_golden_file_is_data(tmp_path):
    found = open_dataset(npz(tmp_path, **{"in:x": X, "out:y": np.maximum(X, 0)}), OPEN, batch=10)
    (batch,) = found.batches()
    np.testing.assert_array_equal(batch.targets["y"], np.maximum(batch.feeds["x"], 0))


def test_several_inputs_and_those_that_are_the_same_in_all(tmp_path):
    a, b = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    found = open_dataset(npz(tmp_path, a=a, b=b), TWO, batch=3)
    np.testing.assert_array_equal(stacked(found, "a"), a)
    np.testing.assert_array_equal(stacked(found, "b"), b)
    found = open_dataset(npz(tmp_path, a=a), TWO, fixed={"b": b[:1]}, batch=2)
    assert found.names == ("a", "b")
    assert all(np.array_equal(feeds["b"], b[:1]) for feeds in found)


def test_an_input_that_decides_shapes_is_read_whole_or_by_sample(tmp_path):
    x = RNG.normal(size=(4, 6)).astype(np.float32)
    found = open_dataset(npz(tmp_path, x=x, s=np.int64([-1, 3])), SHAPED, batch=2)
    assert [feeds["s"].tolist() for feeds in found] == [[-1, 3]] * 2
    assert stacked(found).shape == (4, 6)
    each = open_dataset(npz(tmp_path, x=x, s=np.int64([[-1, 3], [-1, 2], [1, 6], [6, 1]])), SHAPED, batch=2)
    assert [feeds["s"].tolist() for feeds in each] == [[-1, 3], [-1, 2], [1, 6], [6, 1]]
    session = InferenceSession(SHAPED)
    assert [session.run(None, feeds)[0].shape for feeds in each] == [(2, 3), (3, 2), (1, 6), (6, 1)]


def test_pixels_become_numbers(tmp_path):
    pixels = RNG.integers(0, 256, (3, 3, 4, 5), dtype=np.uint8)
    scale = Preprocessing(scale=(1 / 255,), mean=(1.0, 2.0, 3.0), bgr=True)
    mean = np.float64([1, 2, 3]).reshape(3, 1, 1)
    expected = ((pixels[:, ::-1].astype(np.float64) - mean) / 255).astype(np.float32)
    for array in (pixels, pixels.transpose(0, 2, 3, 1)):
        found = open_dataset(npz(tmp_path, x=array), OPEN, preprocessing=scale)
        np.testing.assert_allclose(stacked(found), expected, rtol=1e-6)
    grey = open_dataset(npz(tmp_path, x=pixels[:, 0]), GREY, preprocessing=Preprocessing(scale=(2.0,)))
    np.testing.assert_array_equal(stacked(grey), 2 * pixels[:, :1].astype(np.float32))


LAST = load(network([("Relu", "x", "y")], inputs={"x": ["N", 4, 5, 3]}))
GREY_LAST = load(network([("Relu", "x", "y")], inputs={"x": ["N", 4, 5, 1]}))


def test_pixels_become_numbers_of_channels_last(tmp_path):
    pixels = RNG.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    scale = Preprocessing(scale=(1 / 255,), mean=(1.0, 2.0, 3.0), bgr=True)
    expected = ((pixels[..., ::-1].astype(np.float64) - [1, 2, 3]) / 255).astype(np.float32)
    for array in (pixels, pixels.transpose(0, 3, 1, 2)):
        found = open_dataset(npz(tmp_path, x=array), LAST, preprocessing=scale)
        np.testing.assert_allclose(stacked(found), expected, rtol=1e-6)
    grey = open_dataset(npz(tmp_path, x=pixels[..., 0]), GREY_LAST, preprocessing=Preprocessing(scale=(2.0,)))
    np.testing.assert_array_equal(stacked(grey), 2 * pixels[..., :1].astype(np.float32))


def test_a_folder_of_images_into_channels_last(tmp_path):
    pictures = RNG.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    found = open_dataset(str(tmp_path), LAST, batch=3, preprocessing=Preprocessing(scale=(0.5,)))
    np.testing.assert_array_equal(stacked(found), pictures * np.float32(0.5))


def test_one_image_is_one_sample(tmp_path):
    pixels = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = open_dataset(str(tmp_path / "a.png"), LAST)
    np.testing.assert_array_equal(stacked(found), pixels[None].astype(np.float32))
    with pytest.raises(FeedError, match=r"image .*a\.png feeds one input, and the model needs 'a', 'b'"):
        open_dataset(str(tmp_path / "a.png"), TWO)


def test_numbers_for_channels_that_may_be_first_or_last_are_asked_about(tmp_path):
    graph = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 3]}))
    pixels = RNG.integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    path = npz(tmp_path, x=pixels)
    np.testing.assert_array_equal(stacked(open_dataset(path, graph)), pixels.astype(np.float32))
    with pytest.raises(FeedError, match="say which with --layout nchw or --layout nhwc"):
        stacked(open_dataset(path, graph, preprocessing=Preprocessing(bgr=True)))
    for layout, wanted in {"nchw": pixels[:, ::-1], "nhwc": pixels[..., ::-1]}.items():
        found = open_dataset(path, graph, preprocessing=Preprocessing(bgr=True, layout=layout))
        np.testing.assert_array_equal(stacked(found), wanted.astype(np.float32))


def test_a_fixed_first_axis_is_the_batch(tmp_path):
    found = open_dataset(npz(tmp_path, x=X), FIXED, limit=8)
    assert [feeds["x"].shape[0] for feeds in found] == [4, 4]
    with pytest.raises(FeedError, match=r"samples, 10, does not fill batches of 4.*: use --limit 8, or give more$"):
        open_dataset(npz(tmp_path, x=X), FIXED)
    with pytest.raises(FeedError, match=r"samples, 3, does not fill batches of 4.*: give 4 or more$"):
        open_dataset(npz(tmp_path, x=X[:3]), FIXED)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": X}, "has no array 'x' for that input; it holds 'z'"),
        ({"x": X, "z": X}, "holds 'z', which is neither an input of the model, nor labels, nor a target"),
        ({"x": X, "labels": np.arange(9)}, "have different lengths: 'x' 10, 'labels' 9"),
        ({"x": X, "labels": np.zeros(10)}, r"\['labels'\] must hold one integer for each sample"),
        ({"x": X, "target": X[:3]}, "have different lengths"),
        ({"x": X[0, 0]}, r"\['x'\] has 2 axes; input 'x' needs 4"),
        ({"x": X[:0]}, "holds no samples"),
        ({"x": np.asfortranarray(X)}, "is in Fortran order"),
        ({"x": np.array(["a", None], object)}, "pickled Python objects"),
    ],
)
def test_an_npz_that_does_not_fit(tmp_path, arrays, message):
    with pytest.raises(FeedError, match=message):
        open_dataset(npz(tmp_path, **arrays), OPEN)


def test_a_wrong_shape_or_type_is_found_by_the_run(tmp_path):
    with pytest.raises(FeedError, match=r"run 1 of the data: input 'x' needs shape"):
        calibrate(OPEN, open_dataset(npz(tmp_path, x=X[..., :3]), OPEN))
    with pytest.raises(FeedError, match=r"run 1 of the data: input 'x' needs dtype float32, not float64"):
        calibrate(OPEN, open_dataset(npz(tmp_path, x=X.astype(np.float64)), OPEN))


def test_a_damaged_npz(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FeedError, match=r"is not an \.npz file, or damaged"):
        open_dataset(str(path), OPEN)
    npz(tmp_path, x=X)
    whole = path.read_bytes()
    for cut in range(1, 40):
        broken = bytearray(whole)
        broken[len(whole) * cut // 40] ^= 0xFF
        path.write_bytes(broken)
        with suppress(QEngineError):  # and nothing else; a byte that no checksum covers may go unseen
            stacked(open_dataset(str(path), OPEN))


def test_a_sample_that_is_too_large(tmp_path):
    with pytest.raises(FeedError, match=r"a sample of .* has 60 elements, more than 59"):
        stacked(open_dataset(npz(tmp_path, x=X), OPEN, max_elements=59))
    stacked(open_dataset(npz(tmp_path, x=X), OPEN, max_elements=60))


# Folders


def test_a_folder_of_arrays(tmp_path):
    for i, one in enumerate(X):
        np.save(tmp_path / f"{i}.npy", one if i % 2 else one[None])
    (tmp_path / ".hidden").write_text("no data")
    found = open_dataset(str(tmp_path), OPEN, batch=3)
    assert (len(found), found.labels) == (10, None)
    np.testing.assert_array_equal(stacked(found), X)


def test_a_folder_of_images_of_two_sizes(tmp_path):
    graph = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, "H", "W"]}))
    pictures = [RNG.integers(0, 256, (h, 5, 3), dtype=np.uint8) for h in (4, 4, 6, 4)]
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    found = open_dataset(str(tmp_path), graph, batch=4, preprocessing=Preprocessing(scale=(1 / 255,)))
    shapes = [feeds["x"].shape for feeds in found]
    assert shapes == [(2, 3, 4, 5), (1, 3, 6, 5), (1, 3, 4, 5)]
    first = next(iter(found))["x"]
    np.testing.assert_allclose(first[1], pictures[1].transpose(2, 0, 1) / 255, rtol=1e-6)


def test_sets_of_onnx_test_data(tmp_path):
    a, b = RNG.normal(size=(2, 11, 1, 3)).astype(np.float32)
    for i in range(11):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        for name, array in (("input_0", a[i]), ("input_1", b[i]), ("output_0", a[i] + b[i])):
            (folder / f"{name}.pb").write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())
    found = open_dataset(str(tmp_path), TWO, batch=4)
    assert len(found) == 11
    for i, batch in enumerate(found.batches()):  # in the order of the numbers, one at a time
        np.testing.assert_array_equal(batch.feeds["a"], a[i])
        np.testing.assert_array_equal(batch.targets["y"], batch.feeds["a"] + batch.feeds["b"])
    single = open_dataset(str(tmp_path / "test_data_set_3"), TWO)
    np.testing.assert_array_equal(stacked(single, "b"), b[3])
    (tmp_path / "test_data_set_3" / "input_1.pb").unlink()
    with pytest.raises(FeedError, match=r"test_data_set_3 has no input_1\.pb, for input 'b'"):
        open_dataset(str(tmp_path), TWO)
    assert open_dataset(str(tmp_path), TWO, fixed={"b": b[0]}).names == ("a", "b")


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(FeedError, match=r"holds no images, \.npy files or test_data_set"):
        open_dataset(str(tmp_path), OPEN)
    np.save(tmp_path / "a.npy", X[0])
    with pytest.raises(FeedError, match="feed one input, and the model needs 'a', 'b'; give the others with -i"):
        open_dataset(str(tmp_path), TWO)
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FeedError, match=r"both images and \.npy files"):
        open_dataset(str(tmp_path), OPEN)


# Bundled sets, names, digests


def test_the_bundled_digits():
    digits = zoo.find("digits")
    found = open_dataset("digits", load(digits.path), batch=100)
    sample = digits.sample()
    np.testing.assert_array_equal(stacked(found, "image"), sample.feeds["image"])
    np.testing.assert_array_equal(found.labels, sample.labels)


def test_the_bundled_photographs():
    from qengine.metrics.psnr import psnr

    srcnn = zoo.find("srcnn")
    session = InferenceSession(srcnn.path)
    found = open_dataset("srcnn", session.graph)
    assert len(found) == 6
    gains = []
    for batch in found.batches():
        target = batch.targets["output"]
        assert target.shape == (1, 3, 120, 120)
        upscaled, output = session.run(["upscaled", "output"], batch.feeds)
        pixels = [np.clip(255.0 * one, 0, 255) for one in (upscaled, output, target)]
        gains.append(psnr(pixels[1], pixels[2]) - psnr(pixels[0], pixels[2]))
    assert min(gains) > 0  # these are the pictures that belong together
    assert np.mean(gains) > 0.5


def test_names_that_stand_for_nothing(tmp_path):
    with pytest.raises(OptionError, match=r"there is no data 'nothing': .* bundled are srcnn, digits"):
        open_dataset("nothing", OPEN)
    (tmp_path / "a.txt").write_text("no data")
    with pytest.raises(FeedError, match=r"is of no kind that is read: an \.npz file, .*, or a bundled set"):
        open_dataset(str(tmp_path / "a.txt"), OPEN)
    with pytest.raises(OptionError, match="limit must be a whole number, 1 or more, not 0"):
        open_dataset("digits", OPEN, limit=0)
    with pytest.raises(FeedError, match="no input 'z'"):
        open_dataset("digits", OPEN, fixed={"z": X})


def test_a_digest_is_of_the_content(tmp_path):
    path = npz(tmp_path, x=X, labels=np.arange(10))
    base = open_dataset(path, OPEN).digest
    assert len(base) == 64
    assert open_dataset(path, OPEN, batch=3).digest == base  # of the samples, not of how they are fed
    others = [
        open_dataset(path, OPEN, limit=9).digest,
        open_dataset(path, OPEN, preprocessing=Preprocessing(scale=(0.5,))).digest,
        open_dataset(npz(tmp_path, x=X + 1, labels=np.arange(10)), OPEN).digest,
    ]
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", X[i])
    others.append(open_dataset(str(folder), OPEN).digest)
    (folder / "2.npy").rename(folder / "9.npy")
    others.append(open_dataset(str(folder), OPEN).digest)
    np.save(folder / "9.npy", X[4])
    others.append(open_dataset(str(folder), OPEN).digest)
    first_two = open_dataset(str(folder), OPEN, limit=2).digest
    np.save(folder / "9.npy", X[5])
    assert open_dataset(str(folder), OPEN, limit=2).digest == first_two
    assert len({base, *others, first_two}) == len(others) + 2
    fixed = [open_dataset(npz(tmp_path, a=X[0, 0, :, :3]), TWO, fixed={"b": X[i, :1, 0, :3]}).digest for i in (0, 0, 1)]
    assert fixed[0] == fixed[1] != fixed[2]
