"""Where each key of a TOML file stands, so that an error can name its line."""

from __future__ import annotations

from collections import Counter

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

Path = tuple[str | int, ...]


class Lines:
    """Maps a key's path, such as ('fleet', 'web', 'check', 0, 'timeout'), to its line, counted from 1."""

    def __init__(self, source: bytes) -> None:
        """Parse the source; what can't be parsed is simply not found."""
        self._lines: dict[Path, int] = {}
        self._arrays: Counter[Path] = Counter()
        tree = Parser(Language(tree_sitter_toml.language())).parse(source)
        for node in tree.root_node.children:
            self._visit(node, ())

    def of(self, path: Path) -> int | None:
        """Return the line of a key, or of the nearest table around it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None

    def _visit(self, node: Node, base: Path) -> None:
        if node.type == "pair":
            self._pair(node, base)
        elif node.type in ("table", "table_array_element"):
            names = _names(next(c for c in node.children if c.type.endswith("key")))
            path = self._resolve(names)
            if node.type == "table_array_element":
                path = (*path, self._arrays[path])
                self._arrays[path[:-1]] += 1
            self._lines.setdefault(path, node.start_point[0] + 1)
            for child in node.children:
                if child.type == "pair":
                    self._pair(child, path)

    def _resolve(self, names: list[str]) -> Path:
        """Return a table's path: inside an array of tables it belongs to the newest element."""
        path: Path = ()
        for place, name in enumerate(names):
            path = (*path, name)
            if place < len(names) - 1 and self._arrays[path]:
                path = (*path, self._arrays[path] - 1)
        return path

    def _pair(self, node: Node, base: Path) -> None:
        path = (*base, *_names(node.children[0]))
        self._lines.setdefault(path, node.start_point[0] + 1)
        value = node.children[-1]
        if value.type == "inline_table":
            for child in value.children:
                self._visit(child, path)
        elif value.type == "array":
            for place, child in enumerate(c for c in value.children if c.is_named and c.type != "comment"):
                self._lines.setdefault((*path, place), child.start_point[0] + 1)
                for inner in child.children if child.type == "inline_table" else ():
                    self._visit(inner, (*path, place))


def _names(node: Node) -> list[str]:
    if node.type == "dotted_key":
        return [name for child in node.children if child.type.endswith("key") for name in _names(child)]
    text = (node.text or b"").decode(errors="replace")
    return [text[1:-1] if node.type == "quoted_key" else text]
