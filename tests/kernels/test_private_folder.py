"""Folders and files that another user could have changed are not used, and all others are."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from qengine.kernels import private_folder
from qengine.kernels.private_folder import TEMPORARY, NotPrivateError, PrivateFolder, _is_own_group

SOMEBODY = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def refused(path, *words):
    with pytest.raises(NotPrivateError, match=re.escape(words[-1])) as caught:
        PrivateFolder(str(path))
    assert all(str(word) in str(caught.value) for word in words)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_what_is_made_is_private_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        folder = PrivateFolder(str(tmp_path / "a" / "b"))
        assert folder.make("c")
        assert not folder.make("c")
        folder.write("file", b"content")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c", "a/b/file")] == [0o700, 0o700, 0o700, 0o600]
    assert folder.read("file") == b"content"
    assert folder.is_writable()
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["c", "file"]


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_refused_and_so_is_what_it_holds(tmp_path, bits):
    inner = tmp_path / "open" / "kernels"
    inner.mkdir(parents=True, mode=0o700)
    inner.parent.chmod(bits)
    refused(inner, inner.parent, "can be written to by other users")
    inner.parent.chmod(0o700)
    inner.chmod(bits)
    refused(inner, inner, "can be written to by other users")


def test_in_a_folder_like_tmp_only_owners_replace_entries(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    PrivateFolder(str(shared / "kernels"))
    assert mode(shared / "kernels") == 0o700
    refused(shared, shared, "can be written to by other users")  # files in it may be by anyone


@as_root
def test_entries_of_others_are_refused_where_all_may_write(tmp_path):
    shared = tmp_path / "shared"
    (shared / "kernels").mkdir(parents=True)
    shared.chmod(0o1777)
    os.chown(shared / "kernels", SOMEBODY, SOMEBODY)
    refused(shared / "kernels", shared / "kernels", "belongs to another user")
    refused(shared / "kernels" / "inner", shared / "kernels", "belongs to another user")
    assert not (shared / "kernels" / "inner").exists()


@pytest.mark.parametrize(
    ("name", "group", "members", "is_own"),
    [
        ("ann", 1000, [], True),
        ("ann", 1000, ["ann"], True),
        ("ann", 1000, ["ann", "bob"], False),
        ("staff", 1000, [], False),  # other users may have it too
        ("ann", 1001, [], False),
        ("ann", 0, [], False),
    ],
)
def test_the_group_of_this_user_alone_may_write(monkeypatch, name, group, members, is_own):
    user = SimpleNamespace(pw_name="ann", pw_gid=group if group != 1001 else 1000)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: user)
    monkeypatch.setattr("grp.getgrgid", lambda gid: SimpleNamespace(gr_name=name, gr_mem=members))
    assert _is_own_group.__wrapped__(group) is is_own


def test_a_group_without_an_entry_is_not_ones_own(monkeypatch):
    def missing(gid):
        raise KeyError(gid)

    monkeypatch.setattr("grp.getgrgid", missing)
    assert not _is_own_group.__wrapped__(12345)


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("../" + tmp_path.name + "/absolute")
    PrivateFolder(str(tmp_path / "relative" / ".." / "real" / "new")).write("file", b"1")
    assert (tmp_path / "real" / "new" / "file").read_bytes() == b"1"
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "into").symlink_to("open/deep")
    refused(tmp_path / "into", tmp_path / "open", "can be written to by other users")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", tmp_path / "loop", "has too many links before it")


@as_root
def test_a_link_of_another_user_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    os.chown(tmp_path / "link", SOMEBODY, SOMEBODY, follow_symlinks=False)
    refused(tmp_path / "link", f"the link {tmp_path / 'link'}", "belongs to another user")


def test_what_is_in_the_way(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "kernels", tmp_path / "file", "cannot be used: Not a directory")
    refused("/proc/none/kernels", "/proc/none", "cannot be used:")
    refused(tmp_path / ("n" * 300), "cannot be used:")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert PrivateFolder("here").path == str(gone / "here")
    (gone / "here").rmdir()
    gone.rmdir()
    refused("here", "here", "cannot be used: No such file or directory")


def test_files_that_are_not_ours_alone_are_not_read_and_are_replaced(tmp_path):
    folder = PrivateFolder(str(tmp_path))
    for name, spoil in {
        "writable": lambda path: path.chmod(0o666),
        "link": lambda path: (path.rename(tmp_path / "other"), path.symlink_to("other")),
        "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
        "cut": lambda path: path.unlink(),
    }.items():
        folder.write(name, b"content")
        spoil(tmp_path / name)
        assert folder.read(name) is None
        folder.write(name, b"again")
        assert folder.read(name) == b"again"
        assert mode(tmp_path / name) == 0o600
    (tmp_path / "folder").mkdir()
    assert folder.read("folder") is None
    folder.write("folder", b"content")
    assert not any(re.fullmatch(TEMPORARY, p.name) for p in tmp_path.iterdir())


@as_root
def test_a_file_of_another_user_is_not_read(tmp_path):
    folder = PrivateFolder(str(tmp_path))
    folder.write("file", b"content")
    os.chown(tmp_path / "file", SOMEBODY, SOMEBODY)
    assert folder.read("file") is None


def test_prune_keeps_the_last_and_what_it_does_not_know(tmp_path):
    for i, name in enumerate(("a0", "a1", "a2", "b0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "k1").touch()
        os.utime(tmp_path / name, (i, i))
    (tmp_path / "a3").symlink_to("b0")
    (tmp_path / "a0" / "letter").touch()
    os.utime(tmp_path / "a0", (0, 0))
    PrivateFolder(str(tmp_path)).prune("a[0-9]", "k[0-9]", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a0", "a2", "a3", "b0"]
    assert [p.name for p in (tmp_path / "a0").iterdir()] == ["letter"]
    assert (tmp_path / "b0" / "k1").exists()


HOLD = """
import sys, time
from qengine.kernels import private_folder
from qengine.kernels.private_folder import PrivateFolder
with PrivateFolder(sys.argv[1]).locked(["ab" * 20, "cd" * 20], 9):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until it is told to go on."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def is_free(tmp_path, name):
    """Whether another process could have the lock of a name."""
    script = "import sys; from qengine.kernels import private_folder as p; from pathlib import Path; "
    script += "file = open(Path(sys.argv[1]) / p.LOCKS, 'r+'); "
    script += "print(p.is_byte_locked(file.fileno(), int(sys.argv[2][: p._LOCK_DIGITS], 16)))"
    command = [sys.executable, "-c", script, str(tmp_path), name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_lock_is_for_one_process(tmp_path, holder):
    folder = PrivateFolder(str(tmp_path))
    with folder.locked(["cd" * 20], 0.05):  # in vain
        assert not is_free(tmp_path, "cd" * 20)
    with folder.locked(["ef" * 20, "01" * 20], 0):  # of other files
        assert not is_free(tmp_path, "ef" * 20)
        assert not is_free(tmp_path, "01" * 20)
        assert is_free(tmp_path, "23" * 20)
    assert is_free(tmp_path, "ef" * 20)
    threading.Timer(0.1, lambda: (holder.stdin.write("\n"), holder.stdin.flush())).start()
    with folder.locked(["ab" * 20], 30):
        assert not is_free(tmp_path, "ab" * 20)
        assert is_free(tmp_path, "cd" * 20)


def test_a_process_that_is_killed_holds_no_lock(tmp_path, holder):
    holder.kill()
    with PrivateFolder(str(tmp_path)).locked(["ab" * 20], 30):
        assert not is_free(tmp_path, "ab" * 20)
    assert [path.name for path in tmp_path.iterdir()] == [private_folder.LOCKS]


def test_without_locks_nothing_waits(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with PrivateFolder(str(tmp_path)).locked(["ab"], 30):
        pass
    with pytest.raises(ValueError, match="from within"), PrivateFolder(str(tmp_path)).locked(["ab"], 30):
        raise ValueError("from within")


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """The profile of a user of Windows, where folders cannot be opened."""
    monkeypatch.setattr(private_folder, "HAS_OPEN_FOLDERS", False)
    monkeypatch.setattr(os.path, "expanduser", lambda _: str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


def test_below_the_profile_a_folder_of_windows_is_private(profile):
    folder = PrivateFolder(str(profile / "a" / "b"))
    assert folder.is_writable()
    folder.write("ab", b"1")
    folder.write("ab", b"2\n")
    assert folder.read("ab") == b"2\n"
    assert folder.read("missing") is None
    assert folder.make("c1")
    assert not folder.make("c1")
    with folder.locked(["ab" * 20], 1):
        assert not is_free(profile / "a" / "b", "ab" * 20)
    assert sorted(path.name for path in (profile / "a" / "b").iterdir()) == ["ab", "c1", private_folder.LOCKS]


def test_old_folders_of_windows_are_deleted(profile):
    cache = profile / "cache"
    folder = PrivateFolder(str(cache))
    for i in range(3):
        (cache / f"a{i}").mkdir()
        (cache / f"a{i}" / "k1").write_bytes(b"")
    (cache / "a0" / "other").write_bytes(b"")
    for i in range(3):
        os.utime(cache / f"a{i}", (i, i))
    folder.prune("a[0-9]", "k[0-9]", 1)
    assert sorted(str(path.relative_to(cache)) for path in cache.rglob("*")) == ["a0", "a0/other", "a2", "a2/k1"]


def test_elsewhere_a_folder_of_windows_is_refused(profile):
    (profile / "out").symlink_to(profile.parent)
    for path in (profile.parent / "else", profile.parent / "user2", profile, profile / "out" / "x"):
        refused(path, path, "no other user may write")
