"""What ends a strict build beside MkDocs's own warnings, and what is made of a page's HTML."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from docs.generate.hooks import (
    foreign_addresses,
    on_page_content,
    on_page_markdown,
    stumbling_blocks,
)
from tests.conftest import ROOT

NOWHERE = cast(Any, None)


@pytest.mark.parametrize(
    ("html", "problems"),
    [
        ('<h1 id="a">A</h1><h2>B</h2><h3>C</h3><h2>D</h2><img alt="a cat" src="cat.svg">', 0),
        ("<h1>A</h1><h3>C</h3>", 1),
        ("<h2>A</h2><h3>C</h3>", 1),
        ("<h1>A</h1><h1>B</h1>", 1),
        ('<h1>A</h1><img src="cat.svg">', 1),
        ('<h1>A</h1><img alt="" src="cat.svg">', 1),
    ],
)
def test_what_a_screen_reader_stumbles_over_is_found(html: str, problems: int) -> None:
    assert len(stumbling_blocks(html)) == problems


def test_what_is_fetched_from_elsewhere_is_found() -> None:
    foreign = "https://fonts.example/a"
    assert foreign_addresses(f'<link rel="stylesheet" href="{foreign}">') == [foreign]
    assert foreign_addresses(f'<script defer src="{foreign}"></script>') == [foreign]
    assert foreign_addresses('<img alt="x" src="//b.example/c.png">') == ["//b.example/c.png"]
    assert foreign_addresses(f'<link rel="canonical" href="{foreign}">') == []
    assert foreign_addresses(f'<a href="{foreign}">a link to follow</a>') == []
    assert foreign_addresses('<script src="assets/a.js"></script><img src="a.svg">') == []


def test_tables_scroll_by_themselves_and_have_names() -> None:
    table = "<table><tr><th>key</th><th><code>what</code></th></tr><tr><td>1</td></tr></table>"
    html = on_page_content(f"<h1>A</h1>{table}<p>b</p>{table}", NOWHERE, NOWHERE, NOWHERE)
    frame = '<div class="table" role="region" tabindex="0" aria-label="Table: key, what">'
    assert html.count(f"{frame}{table}</div>") == 2


def test_pictures_follow_the_site_s_own_switch() -> None:
    picture = (
        '<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="a-dark.svg">\n'
        '  <img alt="words" src="a-light.svg" width="440">\n</picture>'
    )
    html = on_page_markdown(f"a\n\n{picture}\n\nb", NOWHERE, NOWHERE, NOWHERE)
    assert "<picture" not in html
    for mode in ("light", "dark"):
        assert f'<img alt="words" src="a-{mode}.svg#only-{mode}" width="440">' in html


@pytest.mark.parametrize(
    ("said", "served", "missing"),
    [
        ("", "file:///home/site/", "404.html"),
        ("", "https://docs.example/some/where/", "nothing.html"),
        ("https://docs.example/some/where/", "https://docs.example/some/where/", "a/b/c.html"),
    ],
)
def test_the_page_for_missing_addresses_finds_all_that_it_needs(
    said: str, served: str, missing: str, tmp_path: Path
) -> None:
    pages = tmp_path / "docs"
    (pages / "assets").mkdir(parents=True)
    (pages / "index.md").write_text("# A page\n", encoding="utf-8")
    for name in ("iframe-worker.js", "site.css"):
        (pages / "assets" / name).touch()
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(pages),
        "site_dir": str(tmp_path / "site"),
        "hooks": [str(ROOT / "docs" / "generate" / "hooks.py")],
        "nav": [{"A page": "index.md"}],
        "plugins": ["offline"],
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(tmp_path / "mkdocs.yml")],
        cwd=ROOT,
        env={**os.environ, "SITE_URL": said, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    page = (tmp_path / "site" / "404.html").read_text(encoding="utf-8")
    needed = [
        urlsplit(urljoin(served + missing, address))
        for address in re.findall(r'\s(?:href|src)="([^"#]+)"', page)
    ]
    assert len(needed) > 5
    folder = urlsplit(served).path
    for address in (one for one in needed if one.netloc == urlsplit(served).netloc):
        assert address.path.startswith(folder)
        assert (tmp_path / "site" / unquote(address.path.removeprefix(folder))).exists()
