"""The operator's image as it is built for release: its list of parts names what is in it."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SBOM = "opt/vlm-operator/sbom.cdx.json"
INSTALLED = re.compile(r"opt/vlm-operator/(?P<name>[^/]+)-(?P<version>[^-/]+)\.dist-info/METADATA")
# Files of each by which a package shows that it is there: Python itself, the C library, what numpy is linked with.
OF_DEBIAN = {
    "python3-minimal": "usr/bin/python3",
    "python3.13-minimal": "usr/bin/python3.13",
    "libc6": r"usr/lib/[^/]+/libc\.so\.6",
    "libstdc++6": r"usr/lib/[^/]+/libstdc\+\+\.so\.6",
    "ca-certificates": r"usr/share/ca-certificates/",
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Every file of the image by its path; contents of the list of parts alone."""
    named = os.environ.get("VLMCTL_OPERATOR_IMAGE")
    if not named:
        pytest.skip("no image of the operator is named: make test-cluster builds it (or set VLMCTL_OPERATOR_IMAGE)")
    with tarfile.open(Path(named)) as archive:
        return dict(_files(archive))


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    manifest = archive.extractfile("manifest.json")
    assert manifest is not None
    for name in json.load(manifest)[0]["Layers"]:
        with tarfile.open(fileobj=archive.extractfile(name)) as layer:
            for member in layer:
                path = member.name.removeprefix("./")
                content = layer.extractfile(member) if path == SBOM else None
                yield path, b"" if content is None else content.read()


def listed(files: dict[str, bytes], kind: str) -> dict[str, str]:
    """Version by name of the parts of one kind of package."""
    parts = json.loads(files[SBOM])["components"]
    return {each["name"]: each["version"] for each in parts if each["purl"].startswith(f"pkg:{kind}/")}


def test_every_python_package_is_listed(files: dict[str, bytes]) -> None:
    """Those that are installed with their versions, the product too, and no other."""
    found = {
        match["name"].lower().replace("_", "-").replace(".", "-"): match["version"]
        for match in map(INSTALLED.fullmatch, files)
        if match is not None
    }
    told = {name.replace(".", "-"): version for name, version in listed(files, "pypi").items()}
    assert "vlmctl" in told
    assert told == found


def test_debian_packages_are_listed(files: dict[str, bytes]) -> None:
    """Those that left files are there, with the documents that name their licence; what was taken away whole is not."""
    told = listed(files, "deb")
    for package, pattern in OF_DEBIAN.items():
        assert (package in told) == any(re.match(pattern, path) for path in files), package
    for package in told:
        assert any(path.startswith(f"usr/share/doc/{package}") for path in files), package
    assert not {"apt", "bash", "coreutils"} & set(told)
