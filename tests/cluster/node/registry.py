"""A registry of images, read from archives, that gives them by digest and only to who has its password."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

USER, PASSWORD = "mirror", "only-here"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
Contents = dict[str, tuple[str, bytes]]  # media type and bytes by path


class Registry(NamedTuple):
    """`digests`: of each image, by repository; `taken`: paths of what was given away."""

    url: str
    digests: dict[str, str]
    taken: set[str]


@contextmanager
def registry(address: str, archives: Mapping[str, Path]) -> Iterator[Registry]:
    """Serve archives, by repository, on a free port of an address of this machine."""
    contents: Contents = {}
    digests = {name: _add(contents, name, archive) for name, archive in archives.items()}
    taken: set[str] = set()
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if self.headers.get("Authorization") != basic:
                self._say(401, "text/plain", b"", {"WWW-Authenticate": 'Basic realm="registry"'})
            elif path not in contents:
                self._say(404, "text/plain", b"", {})
            else:
                taken.add(path)
                self._say(200, *contents[path], {"Docker-Content-Digest": path.rpartition("/")[2]})

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def _say(self, status: int, media_type: str, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": media_type, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield Registry(f"http://{address}:{server.server_port}", digests, taken)
    finally:
        server.shutdown()
        server.server_close()


def _add(contents: Contents, name: str, archive: Path) -> str:
    """Put the one image of an archive of `docker save` under a repository; gives its digest."""

    def add(kind: str, media_type: str, content: bytes) -> dict[str, str | int]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        contents[f"/v2/{name}/{kind}/{digest}"] = (media_type, content)
        return {"mediaType": media_type, "size": len(content), "digest": digest}

    with tarfile.open(archive) as files:

        def read(member: str) -> bytes:
            content = files.extractfile(member)
            assert content is not None
            return content.read()

        (image,) = json.loads(read("manifest.json"))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": add("blobs", CONFIG, read(image["Config"])),
            "layers": [add("blobs", LAYER, read(each)) for each in image["Layers"]],
        }
    return str(add("manifests", MANIFEST, json.dumps(manifest).encode())["digest"])
