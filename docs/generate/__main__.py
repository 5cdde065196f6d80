"""``python -m docs.generate`` writes every generated page; with ``--check`` it only says which ones are out of date."""

from __future__ import annotations

import argparse
import sys

from docs.generate import pages


def main() -> int:
    """Write or compare the pages; 1 where a comparison found a difference."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    check: bool = parser.parse_args().check
    stale = []
    for page, render in pages().items():
        text = render()
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(page.name)
        if not check:
            page.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}. Run `make docs`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
