"""Reading a configuration file: values by name with their type checked, and a refusal in place of a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmctl.errors import BeyondAnyModel, UnsupportedModel

Config = Mapping[str, Any]
BY_HAND = "Write its entry by hand: see catalog/README.md."

# The most that a file may state. It comes from others, and what is read here is multiplied, listed and tried one by
# one: a number that no model has must not take the memory or the time of whoever reads it.
MOST = 10**12  # of anything; the largest numbers in real files are areas in pixels and limits of tokens, below 10^9
MOST_LAYERS = 2_000  # Llama 3.1 405B has 126
MOST_TILES = 256  # PerceptionLM's processor makes up to 36
MOST_RESOLUTIONS = 128  # that a processor chooses among: LLaVA-OneVision's has 36
MOST_LISTED = 2 * MOST_LAYERS  # for decoders that attend twice in a layer
SHOWN_LENGTH = 80  # characters of a value in a message
_MOST_OF: Mapping[str, int] = {
    **dict.fromkeys(
        (
            *("num_hidden_layers", "decoder_layers", "num_decoder_layers", "num_layers", "n_layer", "n_layers"),
            *("layers", "depth", "vt_num_hidden_layers", "num_global_layers", "num_kv_shared_layers"),
            *("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "moe_layer_end_index"),
        ),
        MOST_LAYERS,
    ),
    **dict.fromkeys(
        (
            *("min_dynamic_patch", "min_patches", "min_tiles", "max_dynamic_patch", "max_patches", "max_tiles"),
            *("max_num_tiles", "num_crops", "max_crops", "max_slice_nums"),
        ),
        MOST_TILES,
    ),
}


def refuse(problem: str) -> UnsupportedModel:
    """The error for a configuration that vlmctl cannot turn into a record."""
    return UnsupportedModel(problem, remedy=BY_HAND)


def integer(config: Config, *names: str) -> int | None:
    """The first of some names that holds a whole number, None where none does; raises UnsupportedModel for text."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str) and len(set(value)) == 1:
            value = value[0]  # (14, 14) for a square, or one value for every layer
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(f"{name!r} is {shown(value)} in the configuration, not a whole number.")
        return within(name, value, _MOST_OF.get(name, MOST))
    return None


def within(name: str, value: int, most: int = MOST) -> int:
    """A whole number that a file may state; raises BeyondAnyModel for others. -1 stands for none in some files."""
    if not -1 <= value <= most:
        raise BeyondAnyModel(
            f"{name!r} is {shown(value)} in the configuration, and vlmctl reads numbers from -1 to {most} there.",
            remedy=BY_HAND,
        )
    return value


def shown(value: object) -> str:
    """A value as a message quotes it, cut where it is long."""
    if isinstance(value, int) and abs(value) > 10**SHOWN_LENGTH:
        return f"a number of more than {SHOWN_LENGTH} digits"  # Python refuses to write those of thousands
    text = repr(value[:SHOWN_LENGTH] if isinstance(value, str | list | tuple) else value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"


def required(config: Config, *names: str) -> int:
    """As `integer`, but raises UnsupportedModel where none is there, or where it is not above 0."""
    value = integer(config, *names)
    if value is None or value <= 0:
        raise refuse(f"the configuration does not state {names[0]!r}.")
    return value


def section(config: Config, *names: str) -> Config | None:
    """The first of some names that holds a mapping with anything in it."""
    for name in names:
        value = config.get(name)
        if isinstance(value, Mapping) and value:
            return value
    return None


def numbers(config: Config, name: str) -> tuple[int, ...] | None:
    """A list of whole numbers, None where it is not there."""
    value = config.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(within(name, int(item)) for item in _listed(name, value, MOST_LISTED))


def names_of(config: Config, name: str) -> tuple[str, ...] | None:
    """A list of names, None where it is not there."""
    value = config.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(str(item) for item in _listed(name, value, MOST_LISTED))


def sizes(name: str, *configs: Config) -> tuple[tuple[int, int], ...]:
    """Pairs of sides in pixels, of the first file that lists any; raises UnsupportedModel where none does."""
    value = next((config[name] for config in configs if config.get(name)), None)
    if not isinstance(value, list):
        raise refuse(f"the configuration does not state {name!r}.")
    pairs = _listed(name, value, MOST_RESOLUTIONS)
    return tuple((within(name, int(first)), within(name, int(second))) for first, second in pairs)


def _listed(name: str, value: Sequence[Any], most: int) -> Sequence[Any]:
    if len(value) > most:
        raise BeyondAnyModel(
            f"{name!r} has {len(value)} entries in the configuration, and vlmctl reads at most {most}.", remedy=BY_HAND
        )
    return value
