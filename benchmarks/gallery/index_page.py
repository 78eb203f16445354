"""The gallery's index, one page that needs no other file, and the page of a command's text."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from benchmarks.gallery.pictures import DARK, LIGHT, NARROW, NARROW_DARK, View
from benchmarks.gallery.steps import Page
from trainer.reports.html_page import escape, render_page, write_page

TITLE = "Gallery: every page of one small simulated run"
_STYLE = """
section { margin-top: 2.5rem; } h2 { margin-top: 0; }
.looks { display: grid; grid-template-columns: minmax(0, 10fr) minmax(0, 3.2fr); gap: 1rem;
  align-items: start; }
.looks img { filter: none; border: 1px solid var(--line); display: block; }
code { font-size: .85rem; overflow-wrap: anywhere; }
"""
_TEXT_STYLE = "pre { overflow-x: auto; font-size: .85rem; }"

Pictures = Mapping[tuple[str, View], Path]
"""Name of the page and view -> PNG file."""


def write_index(path: Path, pages: Sequence[Page], pictures: Pictures) -> None:
    """Writes the index: of each page a line, the command that wrote it, and pictures where there
    are any. Raises ``InputError`` where the file cannot be written.
    """
    write_page(
        path,
        render_page(
            TITLE,
            [
                f"<h1>{TITLE}</h1>",
                "<p>The run is a small simulation: its figures mean little, the pages are as they"
                " are for real logs.</p>",
                *(_section(page, pictures) for page in pages),
            ],
            _STYLE,
        ),
    )


def write_text_page(path: Path, title: str, text: str) -> None:
    """Writes what a command prints as a page. Raises ``InputError`` where it cannot be written."""
    body = [f"<h1>{escape(title)}</h1>", f"<pre tabindex=0>{escape(text)}</pre>"]
    write_page(path, render_page(title, body, _TEXT_STYLE))


def _section(page: Page, pictures: Pictures) -> str:
    link = f'<a href="{escape(quote(page.path))}">{escape(page.title)}</a>'
    return (
        f"<section><h2>{link}</h2><p>{escape(page.line)}<br>"
        f"<code>{escape(page.command)}</code></p>{_looks(page, pictures)}</section>"
    )


def _looks(page: Page, pictures: Pictures) -> str:
    shown = [
        _picture(pictures[page.name, light], pictures[page.name, dark], f"{page.title}, {where}")
        for light, dark, where in (
            (LIGHT, DARK, "the top of the page in a wide window"),
            (NARROW, NARROW_DARK, "the top of the page on a telephone"),
        )
        if (page.name, light) in pictures
    ]
    return f"<div class=looks>{''.join(shown)}</div>" if shown else ""


def _picture(light: Path, dark: Path, description: str) -> str:
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{_data(dark)}">'
        f'<img alt="{escape(description)}" src="{_data(light)}"></picture>'
    )


def _data(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
