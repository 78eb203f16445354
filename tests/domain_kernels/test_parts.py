"""``domain_kernels.parts``: every name is brought from where it stands, and settings come with
nothing heavy, since every config is read with them.
"""

import json
import subprocess
import sys

import pytest

from domain_kernels import parts
from tests.conftest import ROOT
from tests.test_startup import HEAVY


@pytest.mark.parametrize("name", parts.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(parts, name) is not None
    assert name in dir(parts)


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        parts.Nothing  # noqa: B018


def test_settings_come_with_nothing_heavy() -> None:
    look = (
        "import json, sys; from domain_kernels.parts import FeatureSettings, OneColumn, ReadAs,"
        " Vocabulary; print(json.dumps(sorted(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {name.partition(".")[0] for name in json.loads(found.stdout)} & {*HEAVY}
