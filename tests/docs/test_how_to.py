"""What the pages of questions say can be done: their configs load, their commands take the flags,
their figures are what they say.
"""

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from configs import load_experiment, parse_experiment
from configs.load import parse_yaml
from configs.training import Kernel
from serving.export.kernel_slots import head_room
from tests.conftest import QUICKSTART, ROOT
from tests.deploy.test_orders import parsed
from tests.docs.command_blocks import blocks
from trainer.kernels.shape import KernelShape

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
WITH_CONFIG = [page for page in PAGES if blocks(page, "yaml")]
WITH_COMMANDS = [page for page in PAGES if any(not one.reason for one in blocks(page, "bash"))]
WHOLE = ("tasks", "score")
"""Sections that a page's piece of config replaces, and does not add to."""


def merged(base: Any, piece: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(piece, dict)):
        return piece
    return {**base, **{key: merged(base.get(key), value) for key, value in piece.items()}}


def commands_of(page: Path) -> list[list[str]]:
    text = "".join(block.text for block in blocks(page, "bash") if not block.reason)
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("python -m ")]


@pytest.mark.parametrize("page", WITH_CONFIG, ids=lambda page: page.stem)
def test_configs_load(page: Path) -> None:
    base = parse_yaml(QUICKSTART.read_text(), "quickstart")
    for block in blocks(page, "yaml"):
        piece = parse_yaml(block.text, page.name)
        assert isinstance(piece, dict)
        whole = {key: value for key, value in piece.items() if key in WHOLE}
        rest = {key: value for key, value in piece.items() if key not in WHOLE}
        parse_experiment(json.dumps({**merged(base, rest), **whole}), source=page.name)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_commands_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands_of(page)
    for words in commands_of(page):
        assert parsed(words, monkeypatch)


def test_how_much_memory_kernels_take() -> None:
    page = ROOT / "docs" / "how-to" / "memory-for-1000-domains.md"
    (formula,) = blocks(page, "python")
    names: dict[str, Any] = {}
    exec(formula.text, names)  # noqa: S102 - our own page
    for tasks, tap, width in ((1, 10, 3), (2, 244, 50), (5, 99, 16)):
        shape = KernelShape.of(Kernel(width=width), tap, towers=tasks)
        floats = sum(math.prod(size) for size in shape.variables().values())
        assert names["kernel_bytes"](tasks, tap, width) == 4 * floats
    for domains in (1, 12, 13, 100, 1_000):
        assert names["slots"](domains) == head_room(domains)
    one = names["kernel_bytes"](2, 244, 50)
    told = [
        int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) \|", page.read_text())
    ]
    assert told == [one, 1_000 * one, names["slots"](1_000) * one, 1_100 * one]


def test_clients_in_other_languages_are_told_the_types_of_the_signature() -> None:
    page = (ROOT / "docs" / "how-to" / "java-and-go.md").read_text()
    told = {
        kind: dtype.lower()
        for kinds, dtype in re.findall(r"^\| (.+?) \| `DT_(\w+)` `\[N", page, re.MULTILINE)
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    experiment = load_experiment(QUICKSTART)
    signatures = json.loads((ROOT / "serving" / "signature.lock.json").read_text())
    inputs = signatures["quickstart"]["serving_default"]["inputs"]
    debias = experiment.backbone.debias
    for name, feature in experiment.features.items():
        if debias and name == debias.feature:
            continue
        for column in experiment.columns_of(name):
            dtype, _, _ = inputs[column].partition(" ")
            assert told[feature.model_dump()["kind"]] == dtype
    assert told["domain"] == inputs["domain"].partition(" ")[0]


def test_every_page_is_in_the_list() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (PAGES[0].parent / "index.md").read_text())
    assert sorted({*listed, "index.md"}) == [page.name for page in PAGES]
