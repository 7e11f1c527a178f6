import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qengine.data.golden import read_golden, replacing, save_golden
from qengine.errors import QEngineError

GOLDEN = Path(__file__).parent.parent / "golden"


def test_round_trip_keeps_names_order_values_and_types(tmp_path):
    inputs = {
        "input": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
        "a/b:0": np.array([[True, False]]),
        "factor": np.array([1, 1, 1.5, 2.5], np.float32),
    }
    outputs = {"output": np.array(3, np.int64), "input": np.zeros((0, 2), np.uint8)}
    save_golden(tmp_path / "g.npz", inputs, outputs)
    for wanted, found in zip((inputs, outputs), read_golden(tmp_path / "g.npz"), strict=True):
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value, strict=True)


def test_the_suffix_is_not_forced(tmp_path):
    save_golden(tmp_path / "plain", {"x": np.ones(2)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_objects_are_not_written(tmp_path):
    with pytest.raises(QEngineError, match="'out:y' has dtype object"):
        save_golden(tmp_path / "g.npz", {}, {"y": np.array([None])})
    with pytest.raises(QEngineError, match="only plain arrays"):
        save_golden(tmp_path / "g.npz", {"x": np.zeros(1, [("field", object)])}, {})
    assert not list(tmp_path.iterdir())


class Trap:
    """Pickled into a file that must never be unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a golden file was unpickled",)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_pickled_objects_are_refused_unread(tmp_path, suffix):
    path = tmp_path / f"g.{suffix}"
    array = np.array([Trap()], dtype=object)
    if suffix == "npz":
        np.savez(path, **{"in:x": array})
    else:
        np.save(path, array)
    with pytest.raises(QEngineError, match=r"cannot read golden .*pickle"):
        read_golden(path)


def _members(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY", b"text", b"\x80\x05K\x01."])
def test_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises(QEngineError, match=r"cannot read golden .*g\.npz: "):
        read_golden(tmp_path / "g.npz")


def test_no_file(tmp_path):
    with pytest.raises(QEngineError, match=r"cannot read golden .*none\.npz"):
        read_golden(tmp_path / "none.npz")


def test_a_damaged_archive(tmp_path):
    path = tmp_path / "g.npz"
    save_golden(path, {"x": np.random.default_rng(0).random(2000)}, {})
    sound = path.read_bytes()
    for place in (60, 400, len(sound) // 2, len(sound) - 10):
        damaged = bytearray(sound)
        damaged[place : place + 4] = bytes(255 - byte for byte in damaged[place : place + 4])
        path.write_bytes(damaged)
        with pytest.raises(QEngineError, match="cannot read golden"):
            read_golden(path)
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(QEngineError, match="cannot read golden"):
        read_golden(path)


def test_an_unknown_compression(tmp_path):
    path = tmp_path / "g.npz"
    save_golden(path, {"x": np.ones(2)}, {})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.rindex(b"PK\x01\x02") + 10] = 77
    path.write_bytes(damaged)
    with pytest.raises(QEngineError, match="compression method"):
        read_golden(path)


def test_a_single_array(tmp_path):
    np.save(tmp_path / "g.npy", np.ones(3))
    with pytest.raises(QEngineError, match="a single array"):
        read_golden(tmp_path / "g.npy")


def test_keys_without_a_side(tmp_path):
    np.savez(tmp_path / "g.npz", **{"in:x": np.ones(1), "weights": np.ones(1)})
    with pytest.raises(QEngineError, match="'weights' begins neither"):
        read_golden(tmp_path / "g.npz")


def test_a_member_that_is_no_array(tmp_path):
    _members(tmp_path / "g.npz", **{"in:x": b"hello"})
    with pytest.raises(QEngineError, match="'in:x' is not an array"):
        read_golden(tmp_path / "g.npz")


def test_replacing_swaps_only_at_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_after_an_error(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:  # noqa: PT012 - the block is what is tested
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nowhere_to_write(tmp_path):
    with (
        pytest.raises(QEngineError, match=r"cannot write .*there is no folder .*missing"),
        replacing(tmp_path / "missing" / "file"),
    ):
        pytest.fail("the block ran")
    (tmp_path / "taken").mkdir()
    with pytest.raises(QEngineError, match=r"cannot write .*taken: "):
        save_golden(tmp_path / "taken", {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_every_golden_is_listed_with_its_model():
    index = json.loads((GOLDEN / "index.json").read_text())
    # Models with registered operators, and with codes of Brevitas, have tests of their own.
    apart = GOLDEN / "custom", GOLDEN / "brevitas"
    listed = [path for path in GOLDEN.rglob("*.npz") if path.parent not in apart]
    assert sorted(index) == sorted(path.relative_to(GOLDEN).as_posix() for path in listed)
    models = {path for path in GOLDEN.rglob("*.onnx") if path.parent not in apart}
    assert {GOLDEN / model for model in index.values()} >= models
    for name, model in index.items():
        assert (GOLDEN / model).is_file()
        inputs, outputs = read_golden(GOLDEN / name)
        assert inputs
        assert outputs
        assert all(np.isfinite(value).all() for value in (*inputs.values(), *outputs.values()))
