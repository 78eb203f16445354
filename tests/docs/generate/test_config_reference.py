"""The reference of the config says what the schema says, of every key."""

import re
from typing import Any

import pytest

from configs import Experiment
from docs.generate.config_reference import anchor, config_reference

SCHEMA = Experiment.model_json_schema()
SECTIONS = [section for section in (SCHEMA, *SCHEMA["$defs"].values()) if "properties" in section]
KEYS = [(section["title"], key) for section in SECTIONS for key in section["properties"]]


@pytest.fixture(scope="module")
def page() -> str:
    return config_reference()


@pytest.fixture(scope="module")
def rows(page: str) -> list[list[str]]:
    """The cells of every row."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines]


def holds_a_section(node: Any) -> bool:
    """Whether a key's own table says what it is."""
    if isinstance(node, dict):
        return "$ref" in node or any(map(holds_a_section, node.values()))
    return isinstance(node, list) and any(map(holds_a_section, node))


def test_every_key_is_there(rows: list[list[str]]) -> None:
    assert {f"`{key}`" for _, key in KEYS} == {cells[0] for cells in rows}
    assert len(KEYS) > 150


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: str(section["title"]))
def test_every_key_is_described(section: dict[str, Any]) -> None:
    for key, node in section["properties"].items():
        assert node.get("description") or "const" in node or holds_a_section(node), key


def test_every_row_says_type_default_and_meaning(rows: list[list[str]]) -> None:
    for key, kind, default, _, meaning in rows:
        assert (kind and "anything" not in kind) or key == "`choices`"
        assert default
        assert meaning


def test_links_lead_to_headings(page: str) -> None:
    headings = {anchor(title.replace("`", "")) for title in re.findall(r"^## (.+)$", page, re.M)}
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(headings) > 30
    assert set(links) <= headings


def test_defaults_and_bounds_by_example(page: str) -> None:
    assert "| `width` | whole number | `50` | at least 1, at most 65_536 | d_e" in page
    assert (
        "| `regulariser` | `moments` or `variational` or `coding_rate` or `none` | `moments` |"
        in (page)
    )
    assert "| `timestamp` | text | needed |" in page
    assert "| `memory` | section or null | `~` |" in page


def test_anchors_are_github_s() -> None:
    assert anchor("`<data>/`, written by `preprocessing.task`".replace("`", "")) == (
        "data-written-by-preprocessingtask"
    )
    assert anchor("What evaluate --json prints, and reports/metrics.json holds") == (
        "what-evaluate---json-prints-and-reportsmetricsjson-holds"
    )
