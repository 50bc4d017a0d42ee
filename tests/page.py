"""A report as a browser would read it."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "input", "link", "br", "img", "line", "circle", "rect", "path", "polyline", "polygon"}


FIELDS = ("query", "found", "only-arm", "only-state", "verdict")


class Page(HTMLParser):
    """Checks that tags nest, and collects attributes, the text and the ids of sections."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "id" and value not in FIELDS]

    def section(self, name: str) -> str:
        return html.unescape(re.split(r"<section id=", self.source.split(f'<section id="{name}">')[1])[0])
