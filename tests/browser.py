"""Pages as a browser has them: opened in a real one without a window, or taken apart by a
parser.
"""

import base64
import json
import re
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from benchmarks.gallery.pictures import BROWSERS, find_browser

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
    " --window-size=1280,5000 --enable-logging=stderr --dump-dom"
)


@dataclass(frozen=True)
class Opened:
    """What a browser made of a page."""

    dom: str
    """The document after rendering, as HTML."""
    console: list[str]
    """Lines of the console: errors, warnings, refusals of the page's policy."""
    requests: list[str]
    """Addresses that the page asked for over the network; the browser's own are left out."""
    screenshot: Path

    def count_pixels(self, colour: str) -> int:
        """Pixels of the screenshot that have a colour such as ``#0072B2``."""
        pixels = np.rint(matplotlib.image.imread(self.screenshot)[..., :3] * 255).astype(int)
        return int(
            (pixels == [int(colour[place : place + 2], 16) for place in (1, 3, 5)])
            .all(axis=-1)
            .sum()
        )


def open_page(page: Path, folder: Path) -> Opened:
    """Opens a file in Chromium or Chrome, with no host reachable; skips the test where neither is
    installed.

    Args:
      page: the HTML file.
      folder: an empty one for the browser's profile, log and screenshot.
    """
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser on PATH to open the page in; looked for {', '.join(BROWSERS)}")
    log, screenshot = folder / "net.json", folder / "screenshot.png"
    places = [
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        f"--screenshot={screenshot}",
    ]
    words = [
        browser,
        *FLAGS.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *places,
        page.resolve().as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [
        event["params"]
        for event in json.loads(log.read_text())["events"]
        if "initiator" in event.get("params", {})
    ]
    requests = [
        event["url"] for event in events if event["initiator"] != "not an origin"
    ]  # the browser's own have none
    return Opened(
        done.stdout,
        [line for line in done.stderr.splitlines() if ":CONSOLE" in line],
        requests,
        screenshot,
    )


class Page(HTMLParser):
    """Collects tags, ids, text, addresses, links and images; and checks that what is opened is
    closed.
    """

    VOID = ("meta", "img", "br", "link", "wbr", "source")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str | None] = []
        self.addresses: list[str | None] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        for name, value in attrs:
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")  # followed by a click alone
            elif name in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value)
        self.images += [dict(attrs)] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def drawings(self) -> list[str]:
        """The SVG text of every image that is a drawing, not a photograph."""
        return [
            base64.b64decode(
                (image["src"] or "").removeprefix("data:image/svg+xml;base64,")
            ).decode()
            for image in self.images
            if not (image["src"] or "").startswith("data:image/png;")
        ]


def assert_loads_nothing(text: str) -> None:
    """Fails where a page or a drawing in it names anything outside the page."""
    page = Page(text)
    assert all((address or "").startswith(("data:", "#")) for address in page.addresses)
    assert not [link for link in page.links if re.match(r"//|[A-Za-z][A-Za-z0-9+.-]*:", link)]
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    for drawing in page.drawings():
        assert not re.search(r"(?:href|src)\s*=\s*[\"'](?!#)|<!DOCTYPE|<script|@import", drawing)
