"""Files of the user's own: where they belong, how they are read within a bound, written whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vlmctl.errors import CannotWrite, InvalidFile

APPLICATION = "vlmctl"
MAXIMUM_BYTES = 64_000_000  # far above any catalog, plan, measurement or image: what never ends is not read into memory


def user_data_folder() -> Path | None:
    """Where the user's catalog lies: ``$XDG_DATA_HOME/vlmctl``, or the platform's own place; None without a home."""
    return _user_folder("XDG_DATA_HOME", linux=".local/share", macos="Library/Application Support")


def user_cache_folder() -> Path | None:
    """Where things that can be made again lie: ``$XDG_CACHE_HOME/vlmctl``, or the platform's; None without a home."""
    return _user_folder("XDG_CACHE_HOME", linux=".cache", macos="Library/Caches")


def read_whole(path: Path, *, maximum_bytes: int = MAXIMUM_BYTES) -> bytes:
    """The content of a file, a device or a pipe; raises InvalidFile where it cannot be read, or is larger."""
    try:
        with path.open("rb") as file:
            content = file.read(maximum_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InvalidFile(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(content) > maximum_bytes:
        raise InvalidFile(str(path), f"is larger than {maximum_bytes:,} bytes.")
    return content


def check_writable(path: Path) -> None:
    """Whether a file could be written there, asked before long work; raises CannotWrite."""
    if path.is_dir():
        raise CannotWrite(f"cannot write {path}: it is a folder.")
    if path.exists() and not path.is_file():
        return  # /dev/stdout, a pipe
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotWrite(f"cannot write {path}: nothing may be written into {path.parent}.")


def write_atomically(path: Path, content: bytes, *, make_folders: bool = False) -> None:
    """Write through a temporary file beside `path` and a rename, so that readers see the old content or the new.

    What is no regular file (``/dev/stdout``, a pipe) is written straight. A symbolic link keeps pointing where it did.
    Raises CannotWrite; then nothing is left behind and earlier content is untouched.
    """
    try:
        target = Path(os.path.realpath(path))
        if make_folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotWrite(f"cannot write {path}: {reason}.", remedy="Nothing was changed.") from error


def _replace(target: Path, content: bytes) -> None:
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    temporary = target.with_name(f".{target.name[:64]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _user_folder(variable: str, *, linux: str, macos: str) -> Path | None:
    named = os.environ.get(variable, "")
    if os.path.isabs(named):  # the XDG specification: a relative path is to be ignored
        return Path(named) / APPLICATION
    if sys.platform == "win32":
        named = os.environ.get("LOCALAPPDATA", "")
        return Path(named) / APPLICATION if named else None
    try:
        home = Path.home()
    except RuntimeError:  # a container's user that no passwd file names
        return None
    return home / (macos if sys.platform == "darwin" else linux) / APPLICATION
