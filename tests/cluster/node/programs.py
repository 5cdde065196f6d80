"""Programs that are pods elsewhere, run beside a cluster as its administrator."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.clusters import Cluster

STOP_SECONDS = 10.0


@contextmanager
def running_program(
    cluster: Cluster,
    folder: Path,
    program: str,
    *flags: str,
    through: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """One of the programs beside the cluster's own, until the end of the context; its log is in `folder`.

    `through`: a command that runs it; `more`: of its environment.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "KUBECONFIG": str(cluster.kubeconfig),
        **(more or {}),
    }
    with (folder / f"{program}.log").open("wb") as log:
        # It ends with this process, however that ends.
        command = ("setpriv", "--pdeathsig", "KILL", *through, str(cluster.bin / program), *flags)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield
            assert process.poll() is None, (folder / f"{program}.log").read_text()[-2000:]
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kubeconfig_flags(cluster: Cluster) -> tuple[str, ...]:
    """Of a program that serves a part of the API: how it reads the cluster, and learns who asks and who may."""
    return tuple(f"--{use}-kubeconfig={cluster.kubeconfig}" for use in ("lister", "authentication", "authorization"))
