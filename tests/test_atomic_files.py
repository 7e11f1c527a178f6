import os

import pytest

from qengine.atomic_files import check_writable, replacing
from qengine.errors import OptionError


def test_a_new_file(tmp_path):
    path = tmp_path / "out.bin"
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "ours") as temporary:
        temporary.write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(path) as temporary:  # noqa: PT012 - the block is what is tested
        temporary.write_bytes(b"ha")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"cannot write .*out\.bin: No space left"), replacing(tmp_path / "out.bin"):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_an_error_without_a_number_is_named(tmp_path):
    with pytest.raises(OptionError, match="10 requested and 4 written"), replacing(tmp_path / "out.bin"):
        raise OSError("10 requested and 4 written")


def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "real", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_two_at_once_do_not_meet(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        assert first != second
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out.npy", "there is no folder .*missing"),
        (".", "it is a folder"),
        ("file/out.npy", "there is no folder"),
        ("pipe", "not a regular file"),
    ],
)
def test_what_cannot_be_written_is_known_before(tmp_path, name, reason):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptionError, match=f"cannot write .*{reason}"):
        check_writable(tmp_path / name)
    with pytest.raises(OptionError, match=reason), replacing(tmp_path / name):
        pytest.fail("the block was run")


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OptionError, match="no permission to write in"):
        check_writable(tmp_path / "out.npy")


def test_the_longest_name_that_a_file_can_have(tmp_path):
    with replacing(tmp_path / ("n" * 255)) as temporary:
        temporary.write_bytes(b"x")
    assert os.listdir(tmp_path) == ["n" * 255]
    with pytest.raises(OptionError, match="too long"), replacing(tmp_path / ("n" * 256)) as temporary:
        temporary.write_bytes(b"x")


def test_a_link_that_somebody_planted_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "theirs").write_bytes(b"theirs")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    (tmp_path / ".out.bin.0.tmp").symlink_to(tmp_path / "theirs")
    with pytest.raises(OptionError, match=r"cannot write .*out\.bin: File exists"), replacing(tmp_path / "out.bin"):
        raise AssertionError("it was opened")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert not (tmp_path / "out.bin").exists()
