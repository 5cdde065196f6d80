"""The base of every record: frozen, keyword-only, and strict about unknown fields.

The modules of this package do without postponed annotations: msgspec reads them whenever the catalog is decoded, and
strings would each have to be compiled first.
"""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An immutable value. Numbers carry their unit in the field's name."""


class Fact(Record, frozen=True, kw_only=True):
    """A group of facts from one source.

    `source`: where a reader can check it (repository path with commit, paper, model card).
    `verified`: True only if that source was read; False facts are shown as such and never silently outrank others.
    """

    source: str
    verified: bool = False
