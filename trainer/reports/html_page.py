"""An HTML page that needs nothing else: its frame, its style, its images, its way to disk."""

import base64
import html
import re
from collections.abc import Iterable
from pathlib import Path

from configs.errors import InputError
from configs.files import write_bytes

_STYLE = """
:root { color-scheme: light dark;
  --text: #1b1b1b; --page: #fff; --faint: #555; --line: #ddd; --strong: #888; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --page: #16181a; --faint: #a5a5a5; --line: #3a3d40; --strong: #777; }
  img { filter: invert(.9) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { max-width: 48rem; } p.note { color: var(--faint); margin-top: .2rem; }
img { width: 100%; height: auto; }
.panels { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.panels img { max-width: 36rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .82rem; }
caption { text-align: left; font-weight: 600; padding: .8rem 0 .3rem; font-size: .95rem;
  position: sticky; left: 0; max-width: calc(100vw - 2rem); box-sizing: border-box; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { border-bottom: 2px solid var(--strong); } tbody th { font-weight: 500; }
td small { color: var(--faint); } .off { color: var(--faint); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; }
dt { color: var(--faint); font-size: .85rem; } dd { margin: 0; font-size: 1.2rem; }
a { color: inherit; }
@page { margin: 12mm; }
@media print {
  :root { --text: #000; --page: #fff; --faint: #444; --line: #ccc; --strong: #777; }
  body { max-width: none; margin: 0; padding: 0; font-size: 10pt; }
  h1, h2, caption, p.note { break-after: avoid; } tr, img { break-inside: avoid; }
  tbody tr:first-child { break-before: avoid; }
  img { filter: none; max-height: 24cm; object-fit: contain; }
  .wide { overflow: visible; } caption { position: static; max-width: none; }
  table { font-size: 7.5pt; width: 100%; }
  th, td { white-space: normal; overflow-wrap: anywhere; padding-right: .5em; }
}
"""


def write_page(path: Path, page: str) -> None:
    """Writes a page whole or not at all.

    Raises:
      InputError: the file cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: no such directory")
    try:
        write_bytes(path, page.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def render_page(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole HTML page, whose policy lets a browser load nothing that is not in the page itself.

    Args:
      title: plain text.
      sections: HTML, in order.
      style: rules after those that every report shares.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = (
        f'<meta charset=utf-8><meta http-equiv=Content-Security-Policy content="{policy}">'
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style>"
    )
    return (
        f"<!DOCTYPE html>\n<html lang=en><head>{head}</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def image(svg: str, description: str) -> str:
    """An ``img`` element that holds a drawing.

    Args:
      svg: the drawing.
      description: plain text for those who do not see it.
    """
    # As an image of its own, because the ids inside two inline drawings of one page would clash.
    drawing = re.sub(r"<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    return (
        f'<img alt="{escape(description)}"'
        f' src="data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}">'
    )


def scrolling(table: str, name: str) -> str:
    """A table that scrolls within itself where the page is narrower, by the keyboard, too.

    Args:
      table: HTML.
      name: plain text that says which table it is, for those who do not see it.
    """
    return f'<div class=wide tabindex=0 role=region aria-label="{escape(name)}">{table}</div>'


def panels(
    drawings: Iterable[str],
    descriptions: Iterable[str],
    figures: str = "the figures are in the tables below",
) -> str:
    """Drawings side by side, where there is room.

    Args:
      drawings: SVG text.
      descriptions: of each, plain text for those who do not see it.
      figures: where the figures are that are drawn.
    """
    images = [
        image(drawing, f"{description}; {figures}")
        for drawing, description in zip(drawings, descriptions, strict=True)
    ]
    return f"<div class=panels>{''.join(images)}</div>"


def escape(value: object) -> str:
    """A value's text for HTML, inside elements and quoted attributes."""
    return html.escape(str(value))
