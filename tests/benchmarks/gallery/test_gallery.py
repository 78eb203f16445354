"""The gallery's commands are ones that there are, its index shows every page, and a command that
fails leaves nothing.
"""

import importlib.util
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import benchmarks.gallery.__main__ as command
from benchmarks.gallery.index_page import write_index, write_text_page
from benchmarks.gallery.pictures import (
    BROWSERS,
    DARK,
    LIGHT,
    NARROW,
    VIEWS,
    find_browser,
    take_picture,
)
from benchmarks.gallery.steps import PAGES, STEPS, Step, overrides
from benchmarks.method.study import load_study
from configs import load_experiment
from configs.errors import InputError
from tests.browser import Page as Parsed
from tests.browser import assert_loads_nothing
from tests.conftest import QUICKSTART, ROOT

COLOURED = (
    "<!DOCTYPE html><style>body { background: #fff } @media (prefers-color-scheme: dark)"
    " { body { background: #000 } }</style><p>x"
)


def test_every_command_is_there_and_its_config_is_valid() -> None:
    assert not [step.module for step in STEPS if importlib.util.find_spec(step.module) is None]
    for as_of in {step.as_of for step in STEPS if step.as_of}:
        experiment = load_experiment(QUICKSTART, [*overrides(), f"as_of={as_of}"])
        ends = [experiment.splits[name].end for name in ("finetune", "validation", "test")]
        assert ends == sorted(ends)
    assert load_study(str(ROOT / "benchmarks" / "gallery" / "study.yaml")).methods


def test_every_page_is_of_a_command_of_the_run() -> None:
    assert {page.command for page in PAGES} <= {str(step) for step in STEPS}
    assert len({page.name for page in PAGES}) == len(PAGES)


def test_the_index_shows_every_page_with_and_without_pictures(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    matplotlib.image.imsave(picture, np.zeros((2, 2, 3)))
    pictures = {(page.name, view): picture for page in PAGES for view in VIEWS}
    for shown in (pictures, {}):
        write_index(tmp_path / "index.html", PAGES, shown)
        text = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert_loads_nothing(text)
        page = Parsed(text)
        assert page.links == [one.path for one in PAGES]
        headings = [tag for tag in page.tags if re.fullmatch(r"h\d", tag)]
        assert headings == ["h1"] + ["h2"] * len(PAGES)
        assert len(page.images) == (2 * len(PAGES) if shown else 0)
        assert all(image["alt"] for image in page.images)
        assert all(one.line in page.text and one.command in page.text for one in PAGES)


def test_what_a_command_prints_is_shown_as_it_is(tmp_path: Path) -> None:
    write_text_page(tmp_path / "page.html", "A & B", "<a>  b\n  c")
    page = Parsed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "<a>  b\n  c" in page.text


def test_a_command_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Step("json.tool", ("nowhere.json",), as_of="")
    monkeypatch.setattr(command, "STEPS", (failing,))
    with pytest.raises(InputError, match=r"json\.tool nowhere\.json ended with exit code \d: .*no"):
        command.make_gallery(tmp_path / "gallery", pictures=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"holds files but no _gallery\.txt"):
        command.make_gallery(tmp_path / "gallery", pictures=False)


def test_a_picture_is_as_wide_and_as_dark_as_it_should_be(tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser on PATH; looked for {', '.join(BROWSERS)}")
    (tmp_path / "page.html").write_text(COLOURED)
    shown = {}
    for view in (LIGHT, DARK, NARROW):
        picture = tmp_path / f"{view.name}.png"
        take_picture(browser, tmp_path / "page.html", view, picture)
        shown[view] = matplotlib.image.imread(picture)
    assert shown[LIGHT].shape[:2] == (LIGHT.height, LIGHT.width)
    assert shown[NARROW].shape[1] == NARROW.width
    assert shown[LIGHT][-1, -1, 0] == 1.0
    assert shown[DARK][-1, -1, 0] == 0.0
