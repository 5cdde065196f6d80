"""Records that another version of the operator or the agent wrote: what this one does not know of is passed over."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

_T = TypeVar("_T")


def convert(kept: Any, kind: type[_T]) -> _T:
    """A record from what JSON gave, without fields that it does not have; raises msgspec.ValidationError."""
    try:
        return msgspec.convert(kept, kind)
    except msgspec.ValidationError:
        return msgspec.convert(_known(kept, inspect.type_info(kind)), kind)


def _known(kept: Any, kind: inspect.Type) -> Any:
    """Without the fields that records of this version do not have."""
    match kind:
        case inspect.Metadata(type=described):
            return _known(kept, described)
        case inspect.StructType(fields=fields) if isinstance(kept, dict):
            kinds = {each.encode_name: each.type for each in fields}
            return {name: _known(part, kinds[name]) for name, part in kept.items() if name in kinds}
        case inspect.VarTupleType(item_type=item) if isinstance(kept, list):
            return [_known(part, item) for part in kept]
        case inspect.UnionType(types=kinds) if kept is not None:
            bare = [each.type if isinstance(each, inspect.Metadata) else each for each in kinds]
            return next((_known(kept, each) for each in bare if isinstance(each, inspect.StructType)), kept)
    return kept
