"""What the operator's image holds, as CycloneDX 1.6: its Debian and Python packages and the product itself.

Usage: sbom.py IMAGE_NAME VERSION DEBIAN_PACKAGES BASE.tar PRODUCT.whl > sbom.cdx.json
DEBIAN_PACKAGES: a line `NAME VERSION ARCHITECTURE` for each. The same inputs give the same text.
"""

from __future__ import annotations

import json
import sys
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

METADATA = ".dist-info/METADATA"
Component = dict[str, Any]


def debian(path: Path) -> Iterator[Component]:
    """Packages of the distribution."""
    for line in path.read_text(encoding="utf-8").splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def python_in_tar(path: Path) -> Iterator[Component]:
    """Python packages that are installed in an archive of a root folder."""
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(METADATA) else None
            if content is not None:
                yield python(content.read().decode())


def python_in_wheel(path: Path) -> Component:
    """The package that a wheel brings."""
    with zipfile.ZipFile(path) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith(METADATA))
        return python(wheel.read(name).decode())


def python(metadata: str) -> Component:
    """A package from its METADATA; the licence is what it says as an SPDX expression, if it does."""
    told = HeaderParser().parsestr(metadata)
    name, version = told["Name"].lower().replace("_", "-"), told["Version"]
    purl = f"pkg:pypi/{name}@{quote(version, safe='')}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    license = told["License-Expression"]
    return found | ({"licenses": [{"expression": license}]} if license else {})


def bill(image: str, version: str, components: list[Component]) -> dict[str, Any]:
    """The whole document; its number follows from what it says."""
    ordered = sorted(components, key=lambda each: str(each["purl"]))
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([image, version, ordered]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": image, "name": image, "version": version}},
        "components": ordered,
    }


def main() -> int:
    """Print it."""
    image, version, *files = sys.argv[1:]
    packages, base, wheel = map(Path, files)
    components = [*debian(packages), *python_in_tar(base), python_in_wheel(wheel)]
    print(json.dumps(bill(image, version, components), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
