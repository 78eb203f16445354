"""What ``mkdocs.yml`` calls while the site is built: pages that are made of other files, and what a
page's HTML needs beside MkDocs's own.
"""

import logging
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generate.config_reference import anchor, config_reference

ROOT = Path(__file__).parents[2]

_LOG = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Has headings' anchors made as GitHub makes them, where the pages are read, too."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


GENERATED = ("changelog.md", "reference/config.md")
"""Pages that stand nowhere as Markdown of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of ``GENERATED``."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    for path, content in zip(GENERATED, (changelog, config_reference()), strict=True):
        files.append(File.generated(config, path, content=content))
    return files


def on_template_context(
    context: Mapping[str, Any], template_name: str, config: MkDocsConfig
) -> Mapping[str, Any]:
    """Has the page for addresses that are not there find everything beside itself, where nobody has
    said where the site will be: it works from a disk and in any folder of a server, for addresses
    of that folder. With ``SITE_URL``, links are whole paths, for addresses further below, too.
    """
    if template_name == "404.html" and not config.site_url:
        return {**context, "base_url": "."}
    return context


_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)"(?P<size>[^>]*)>\s*</picture>'
)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes a picture follow the site's own switch between light and dark, and not the system's."""
    return _PICTURE.sub(
        r'<p><img alt="\g<alt>" src="\g<light>#only-light"\g<size>>'
        r'<img alt="\g<alt>" src="\g<dark>#only-dark"\g<size>></p>',
        markdown,
    )


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lets a wide table scroll within itself, by keyboard, too; and warns, which ends a strict
    build, of what a screen reader would stumble over.
    """
    for problem in stumbling_blocks(html):
        _LOG.warning("%s: %s", page.file.src_uri, problem)
    return re.sub(r"<table>.*?</table>", _framed, html, flags=re.DOTALL)


def _framed(table: re.Match[str]) -> str:
    """A table in a frame that is named by its columns."""
    columns = re.findall(r"<th\b[^>]*>(.*?)</th>", table[0], re.DOTALL)
    words = ", ".join(filter(None, (re.sub(r"<[^>]+>", "", one).strip() for one in columns)))
    label = f"Table: {words}".replace('"', "&quot;")
    return f'<div class="table" role="region" tabindex="0" aria-label="{label}">{table[0]}</div>'


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warns, which ends a strict build, of what a browser would fetch from elsewhere."""
    for address in foreign_addresses(output):
        _LOG.warning("%s: would be fetched from elsewhere: %s", page.file.src_uri, address)
    return output


def stumbling_blocks(html: str) -> list[str]:
    """What is wrong with a page for those who do not see it: a heading that skips a level, other
    than one of the first level, a picture without words.
    """
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
    found = [
        f"a heading of level {below} stands under one of level {above}"
        for above, below in pairwise(levels)
        if below > above + 1
    ]
    if levels.count(1) != 1 or levels[0] != 1:
        found.append(f"expected one heading of level 1, the first; found levels {levels[:5]}")
    pictures = re.findall(r"<img\b[^>]*>", html)
    found += [f"no alt: {picture}" for picture in pictures if not re.search(r'alt="[^"]', picture)]
    return found


def foreign_addresses(html: str) -> list[str]:
    """Addresses at other places that a browser loads by itself; links to follow are none."""
    loaded = (
        r'<(?:script|img|source|iframe|video|audio)\b[^>]*\s(?:src|srcset)="((?:https?:)?//[^"]*)"'
    )
    linked = r'<link\b(?![^>]*\srel="canonical")[^>]*\shref="((?:https?:)?//[^"]*)"'
    return re.findall(loaded, html) + re.findall(linked, html)
