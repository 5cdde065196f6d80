"""Writing files: whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from vlmctl.errors import CannotWrite, InvalidFile
from vlmctl.files import check_writable, read_whole, user_cache_folder, user_data_folder, write_atomically


def test_content_is_replaced_whole(tmp_path: Path) -> None:
    """A file is created, then replaced, and keeps its permissions; nothing else is left in the folder."""
    path = tmp_path / "a.yaml"
    write_atomically(path, b"one")
    path.chmod(0o640)
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_what_cannot_be_written_is_told_beforehand(tmp_path: Path) -> None:
    """A folder that is not there, a folder in the file's place; what can be written passes, a device too."""
    check_writable(tmp_path / "new.json")
    check_writable(Path(os.devnull))
    with pytest.raises(CannotWrite, match="there is no folder"):
        check_writable(tmp_path / "no" / "a.json")
    with pytest.raises(CannotWrite, match="it is a folder"):
        check_writable(tmp_path)


def test_a_full_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up while writing, the earlier content stays and no temporary file remains."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.yaml"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no /dev/full")
def test_a_device_is_written_straight() -> None:
    """What is no regular file is not replaced; a failure to write it is told."""
    with pytest.raises(CannotWrite, match="No space left"):
        write_atomically(Path("/dev/full"), b"x")
    assert not Path("/dev/full").is_file()
    write_atomically(Path("/dev/null"), b"x")
    assert not Path("/dev/null").is_file()


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    """Writing through a symbolic link changes the file it points to."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A folder, a missing folder and a file in the way are each told in one line."""
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "no" / "a", tmp_path / "file" / "a"):
        with pytest.raises(CannotWrite) as caught:
            write_atomically(path, b"x")
        assert "\n" not in str(caught.value)
    write_atomically(tmp_path / "no" / "a", b"x", make_folders=True)
    assert (tmp_path / "no" / "a").read_bytes() == b"x"


def test_the_users_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG variables are followed where absolute; without a home there is no folder rather than an error."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_data_folder() == tmp_path / "vlmctl"
    cache = user_cache_folder()
    assert cache is not None
    assert cache.is_relative_to(tmp_path / "home")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError()))
    assert user_cache_folder() is None


def test_a_file_without_end_is_refused() -> None:
    """A device that never ends is told by its size, before it fills the memory."""
    with pytest.raises(InvalidFile, match=r"^/dev/zero: is larger than 1,000 bytes"):
        read_whole(Path("/dev/zero"), maximum_bytes=1000)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """The bound itself is allowed; one byte more is not."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_whole(path, maximum_bytes=100) == b"x" * 100
    with pytest.raises(InvalidFile, match="larger than 99 bytes"):
        read_whole(path, maximum_bytes=99)


@pytest.mark.parametrize("name", ["missing", ".", "a\0b"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """A missing file, a folder and an impossible name each end in one line."""
    with pytest.raises(InvalidFile, match="cannot be read: "):
        read_whole(tmp_path / name)
