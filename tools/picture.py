"""Draws terminal output as an SVG picture: `sickbay demo --once | python tools/picture.py > docs/pictures/demo.svg`."""

from __future__ import annotations

import sys
from html import escape

COLOURS = {
    "✗": "#ff7b72",
    "!": "#ff7b72",
    "✓": "#7ee787",
    "■": "#7ee787",
    "▶": "#79c0ff",
    "‖": "#e3b341",
    "◆": "#ffffff",
}
WIDTH, LINE, COLUMN = 112, 19, 7.85


def colour(line: str) -> str:
    """Return the colour of a line, by its mark."""
    if line.startswith(">>>"):
        return "#ffa657"
    return next((c for mark, c in COLOURS.items() if f" {mark} " in line[:14]), "#c9d1d9")


def main() -> None:
    """Read text, write SVG."""
    lines = [line.rstrip("\n") for line in sys.stdin]
    start = next((i for i, line in enumerate(lines) if line.startswith(">>>")), 0)
    shown = [
        line if len(line) <= WIDTH else line[: WIDTH - 1] + "…" for line in ["$ make demo", "…", *lines[start - 2 :]]
    ]
    width, height = int(WIDTH * COLUMN) + 40, len(shown) * LINE + 40
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">')
    print(f'<title>sickbay demo</title><rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>')
    print('<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">')
    for number, line in enumerate(shown):
        if line:
            print(f'<text x="20" y="{34 + number * LINE}" fill="{colour(line)}">{escape(line)}</text>')
    print("</g></svg>")


if __name__ == "__main__":
    main()
