"""Fonts of the machine by purpose, found by file name in the usual folders; for plain Latin Pillow brings one along."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont, features

from vlmctl.files import user_data_folder

Font = ImageFont.FreeTypeFont

BUNDLED = "Pillow's own"
MEASURED_PIXELS = 256  # text is measured at one large size, so that layout does not follow the hinting of small ones
_SYSTEM_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)
_SUFFIXES = (".ttf", ".otf", ".ttc")
_NO_CHARACTER = "\U0010fffe"  # in no font: its glyph is the one for what is missing
_DIGEST_CHARACTERS = 12


class Face(StrEnum):
    """What a text is set in."""

    SANS = "sans"
    BOLD = "bold"
    SERIF = "serif"
    MONO = "mono"
    HAND = "hand"
    ACCENTED = "accented"
    JAPANESE = "japanese"
    ARABIC = "arabic"
    DEVANAGARI = "devanagari"


# The first that is there is taken. Names as the makers ship them: Debian's and Fedora's packages, macOS, Windows.
CANDIDATES: Mapping[Face, tuple[str, ...]] = {
    Face.SANS: ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf"),
    Face.BOLD: ("DejaVuSans-Bold.ttf", "LiberationSans-Bold.ttf", "NotoSans-Bold.ttf", "Arial Bold.ttf", "arialbd.ttf"),
    Face.SERIF: ("DejaVuSerif.ttf", "LiberationSerif-Regular.ttf", "NotoSerif-Regular.ttf", "Times New Roman.ttf"),
    Face.MONO: ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "NotoSansMono-Regular.ttf", "Courier New.ttf"),
    Face.HAND: (
        "DejaVuSerif-Italic.ttf",
        "LiberationSerif-Italic.ttf",
        "NotoSerif-Italic.ttf",
        "Bradley Hand Bold.ttf",
    ),
    Face.ACCENTED: ("DejaVuSerif.ttf", "LiberationSerif-Regular.ttf", "NotoSerif-Regular.ttf", "Times New Roman.ttf"),
    Face.JAPANESE: (
        "NotoSansCJK-Regular.ttc",
        "NotoSansJP-Regular.otf",
        "NotoSansJP-Regular.ttf",
        "ipagp.ttf",
        "ipag.ttf",
        "TakaoPGothic.ttf",
        "ヒラギノ角ゴシック W3.ttc",
        "YuGothR.ttc",
        "msgothic.ttc",
    ),
    Face.ARABIC: (
        "NotoNaskhArabic-Regular.ttf",
        "NotoSansArabic-Regular.ttf",
        "Amiri-Regular.ttf",
        "DejaVuSans.ttf",
        "GeezaPro.ttc",
        "Arial.ttf",
    ),
    Face.DEVANAGARI: (
        "NotoSansDevanagari-Regular.ttf",
        "Lohit-Devanagari.ttf",
        "Kohinoor.ttc",
        "Nirmala.ttc",
        "Nirmala.ttf",
        "mangal.ttf",
    ),
}
SHAPED = frozenset({Face.ARABIC, Face.DEVANAGARI})  # letters change with their neighbours: needs Raqm
# Letters that a font must have for a script; cut-down fonts of the same name do not.
_SAMPLES: Mapping[Face, str] = {
    Face.ACCENTED: "äéñøłçıß",
    Face.JAPANESE: "お品書きカ",
    Face.ARABIC: "قائمةطع",
    Face.DEVANAGARI: "आजकमेन्यू",
}
_LATIN = frozenset({Face.SANS, Face.BOLD, Face.SERIF, Face.MONO, Face.HAND})


class FoundFont(NamedTuple):
    """A font file; `path` is None for the one that Pillow brings along."""

    path: Path | None

    @property
    def name(self) -> str:
        """The file's name with the start of its SHA-256, or what the bundled font is called here."""
        if self.path is None:
            return BUNDLED
        return f"{self.path.name} {hashlib.sha256(self.path.read_bytes()).hexdigest()[:_DIGEST_CHARACTERS]}"


class Fonts:
    """The fonts to draw with. `folders` are searched before the system's own; `system` False leaves those out."""

    def __init__(self, folders: Sequence[Path] = (), *, system: bool = True) -> None:
        self._folders = (*folders, *(_system_folders() if system else ()))
        self._sized: dict[tuple[Face, float], Font] = {}
        self._advances: dict[tuple[Face, str], float] = {}
        self._found: dict[Face, FoundFont | None] = {}

    def found(self, face: Face) -> FoundFont | None:
        """The font for a face, None where the machine has none."""
        if face not in self._found:
            files = (self._files.get(name.lower()) for name in CANDIDATES[face])
            bundled = FoundFont(None) if face in _LATIN else None
            self._found[face] = next((FoundFont(each) for each in files if each and _suits(each, face)), bundled)
        return self._found[face]

    def missing(self, face: Face) -> str:
        """Why a face cannot be drawn here; empty where it can."""
        if face in SHAPED and not features.check("raqm"):
            return "its letters take shape from their neighbours, for which this Pillow lacks Raqm"
        return "" if self.found(face) is not None else f"no font for it is here, such as {CANDIDATES[face][0]}"

    def sized(self, face: Face, pixels: float) -> Font:
        """The font of a face at a size; the face must not be missing."""
        key = (face, pixels)
        if key not in self._sized:
            self._sized[key] = self._load(face, pixels)
        return self._sized[key]

    def width(self, text: str, face: Face) -> float:
        """How far a text advances, as a multiple of the size it is set in."""
        if face in SHAPED:
            return self.sized(face, MEASURED_PIXELS).getlength(text) / MEASURED_PIXELS
        return self.starts(text, face)[-1]

    def starts(self, text: str, face: Face) -> list[float]:
        """Where each letter starts and the last one ends, as multiples of the size; not for shaped scripts."""
        starts = [0.0]
        for index, letter in enumerate(text):
            following = text[index + 1 : index + 2]
            starts.append(starts[-1] + self._advance(letter, following, face))
        return starts

    def used(self) -> tuple[str, ...]:
        """The fonts that were drawn with, by name."""
        faces = {face for face, _ in self._sized}
        found = (self.found(face) for face in sorted(faces))
        return tuple(sorted({font.name for font in found if font is not None}))

    def _advance(self, letter: str, following: str, face: Face) -> float:
        """How far the next letter starts after a letter, the kerning of the two included."""
        key = (face, letter + following)
        if key not in self._advances:
            font = self.sized(face, MEASURED_PIXELS)
            pair = font.getlength(letter + following) - (font.getlength(following) if following else 0)
            self._advances[key] = pair / MEASURED_PIXELS
        return self._advances[key]

    def _load(self, face: Face, pixels: float) -> Font:
        found = self.found(face)
        if found is None:
            raise ValueError(f"no font for {face}: ask missing() first")
        if found.path is None:
            bundled = ImageFont.load_default(pixels)
            if not isinstance(bundled, ImageFont.FreeTypeFont):
                raise ValueError("this Pillow was built without FreeType")
            return bundled
        return _opened(found.path, pixels, face)

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Font files by name in small letters; the first folder that has a name wins."""
        files: dict[str, Path] = {}
        for path in (path for folder in self._folders for path in _font_files(folder)):
            files.setdefault(path.name.lower(), path)
        return files


def _opened(path: Path, pixels: float, face: Face) -> Font:
    # The basic layout is the same wherever Pillow runs; only shaped scripts need the other.
    engine = ImageFont.Layout.RAQM if face in SHAPED else ImageFont.Layout.BASIC
    # Not `truetype`, which takes a file of that name from the system where this one is no font.
    return Font(str(path), pixels, layout_engine=engine)


def _suits(path: Path, face: Face) -> bool:
    """Whether a file is a font at all, and has the letters of the face's script."""
    try:
        return _holds(_opened(path, MEASURED_PIXELS, face), _SAMPLES.get(face, "Ag"))
    except OSError:
        return False


def _holds(font: Font, text: str) -> bool:
    nothing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(each)) != nothing for each in set(text) if not each.isspace())


def _system_folders() -> Iterator[Path]:
    home = user_data_folder()
    if home is not None:
        yield home.parent / "fonts"
    for name in _SYSTEM_FOLDERS:
        folder = Path(os.path.expanduser(name))
        if folder.is_absolute():
            yield folder


def _font_files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES):
                yield Path(root, name)
