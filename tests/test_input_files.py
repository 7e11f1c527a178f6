"""Input files: only regular files are opened, and nothing that is not one is waited for."""

import os
import socket

import pytest

from qengine.input_files import NotAFileError, open_input, read_input


def test_a_regular_file_and_a_link_to_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    assert read_input(path) == read_input(str(path)) == read_input(tmp_path / "link") == b"content"


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_pipe, "named pipe"), (_socket, "socket"), (_link_to_a_device, "device"), (os.mkdir, "directory")],
    ids=["pipe", "socket", "device", "directory"],
)
def test_what_is_not_a_regular_file_is_refused_by_name(tmp_path, make, reason):
    path = tmp_path / "it"
    make(path)
    with pytest.raises(NotAFileError) as caught:
        open_input(path)
    assert reason in caught.value.strerror
    assert caught.value.filename == str(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / "none")
    with pytest.raises(ValueError, match="null"):
        open_input("a\0b")
