"""A checkpoint in a repository of the Hugging Face hub: its small files, and the headers of weights that stay there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vlmctl.catalog.checkpoint import FILES, Checkpoint, assemble
from vlmctl.catalog.weights import Tensor
from vlmctl.errors import InvalidFile, NotReachable, UnknownName, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

EXTRA = "pip install 'vlmctl[catalog]'"
SIGN_IN = "run `hf auth login`"


def read_repository(repository: str) -> Checkpoint:
    """The checkpoint in a repository.

    Raises UsageError without the `catalog` extra or for a gated repository, UnknownName, InvalidFile for weights in
    another format, and NotReachable where the hub does not answer.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UsageError("reading from the hub needs huggingface_hub.", remedy=f"Run: {EXTRA}") from error
    try:
        return _read(HfApi(), repository)
    except Exception as error:
        _explain(repository, error)


def _read(api: HfApi, repository: str) -> Checkpoint:
    info = api.model_info(repository)
    present = {sibling.rfilename for sibling in info.siblings or ()}
    paths = {name: Path(api.hf_hub_download(repository, name, revision=info.sha)) for name in FILES if name in present}
    tensors: list[Tensor] | None = None
    if any(name.endswith(".safetensors") for name in present):
        metadata = api.get_safetensors_metadata(repository, revision=info.sha)
        tensors = [
            Tensor(name, str(tensor.dtype), tuple(tensor.shape))
            for file in metadata.files_metadata.values()
            for name, tensor in file.tensors.items()
        ]

    def read(name: str) -> bytes | None:
        return paths[name].read_bytes() if name in paths else None

    source = f"{repository}@{(info.sha or 'main')[:7]} config.json"
    return assemble(repository, source, repository, read, tensors, gated=bool(info.gated))._replace(revision=info.sha)


def _explain(repository: str, error: Exception) -> NoReturn:
    """Raise what an error of the hub's client means to the user; errors that are none of its go on as they are."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        remedy = f"Accept its terms on its page, then {SIGN_IN}."
        raise UsageError(f"{repository} is gated.", remedy=remedy) from error
    if isinstance(error, hub.RepositoryNotFoundError):
        raise UnknownName("repository", repository, remedy=f"If it is private, {SIGN_IN}.") from error
    if isinstance(error, hub.NotASafetensorsRepoError | hub.SafetensorsParsingError):
        raise InvalidFile(repository, "its weights are not in the safetensors format.") from error
    transport = type(error).__module__.startswith("httpx")  # httpx or httpx2, as the client's version has it
    if transport or isinstance(error, hub.HfHubHTTPError | hub.OfflineModeIsEnabled | OSError):
        reason = (str(error) or type(error).__name__).splitlines()[0]
        problem = f"the Hugging Face hub did not answer for {repository}: {reason.rstrip('.')}."
        raise NotReachable(problem, remedy="A local folder works offline.") from error
    raise error
