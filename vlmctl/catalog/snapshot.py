"""Catalog folders compiled to msgpack, so that a command need not parse YAML.

A snapshot cannot go stale: it opens with a digest of the names and bytes of the files it was made of and of the code
that makes records of them, and a digest of itself. One that does not match, or is damaged, is passed over.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vlmctl import specs
from vlmctl.catalog.folders import Source
from vlmctl.errors import CannotWrite
from vlmctl.files import user_cache_folder, write_atomically
from vlmctl.specs.hardware import Catalog
from vlmctl.version import __version__

BUILT_IN = Path(__file__).with_name("snapshot.msgpack")  # written by the build, see hatch_build.py
_DIGEST_BYTES = 32
_CODE = (
    "entries.py",
    "measurements.py",
    "yaml_nodes.py",
    "snapshot.py",
)  # beside the records: what turns files into them


def digest(sources: Sequence[Source]) -> bytes:
    """What a snapshot of these files, made by this code, is known by."""
    state = hashlib.blake2b(__version__.encode(), digest_size=_DIGEST_BYTES)
    here = Path(__file__).parent
    code = [*sorted(Path(specs.__file__).parent.glob("*.py")), *(here / name for name in _CODE)]
    parts = [(path.name, path.read_bytes() if path.exists() else b"") for path in code]
    parts += [(source.name, source.content) for source in sources]
    for name, content in parts:
        state.update(f"{len(name)}:{name}:{len(content)}:".encode())
        state.update(content)
    return state.digest()


def cache_path(folder: Path) -> Path | None:
    """Where the user's own snapshot of a folder is kept; None where there is no home to keep it in."""
    cache = user_cache_folder()
    name = hashlib.blake2b(str(folder.absolute()).encode(), digest_size=8).hexdigest()
    return cache / f"catalog-{name}.msgpack" if cache is not None else None


def read(path: Path, key: bytes) -> Catalog | None:
    """The catalog in a snapshot, None unless it was made of exactly what `key` stands for and is undamaged."""
    try:
        with path.open("rb") as file:
            if file.read(_DIGEST_BYTES) != key:
                return None
            checksum, body = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    if checksum != _checksum(body):
        return None
    try:
        return msgspec.msgpack.decode(body, type=Catalog)
    except msgspec.MsgspecError:
        return None


def encode(key: bytes, catalog: Catalog) -> bytes:
    """A catalog as a snapshot that answers to `key`."""
    body = msgspec.msgpack.encode(catalog)
    return key + _checksum(body) + body


def keep(path: Path, content: bytes) -> None:
    """Write a snapshot into the user's cache. Failing to is harmless: the next run parses again."""
    try:
        write_atomically(path, content, make_folders=True)
    except CannotWrite:
        return


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
