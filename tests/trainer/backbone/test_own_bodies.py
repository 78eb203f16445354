"""A body of another package that fails, or gives back something else than heads, is one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import InputError
from configs.plugins import BODIES, installed
from tests.packages import install
from tests.trainer.conftest import one_line, variant
from trainer.job import Job
from trainer.training.pretrain import pretrain

CODE = """
from keras import ops

from domain_kernels.parts import TaskHead


def raises(x, build):
    return [build.head(task, x + no_such_name) for task in build.tasks]


def misuses(x, build):
    return [build.head(task, build.mlp(x, None, task)) for task in build.tasks]


def nothing(x, build):
    build.head("ctr", x)


def too_few(x, build):
    return [build.head(build.tasks[0], x)]


def tuples(x, build):
    return [(x, x, x) for task in build.tasks]


def wide_logit(x, build):
    return [TaskHead(x, x, x) for task in build.tasks]


def unequal(x, build):
    towers = [build.dense(8 + place, task) for place, task in enumerate(build.tasks)]
    return [TaskHead(x, tower(x), build.dense(1, f"{tower.name}_end")(x)) for tower in towers]


def flat(x, build):
    return [TaskHead(x[:, 0], x, x[:, :1]) for task in build.tasks]


def whole(x, build):
    return [TaskHead(x, x, ops.cast(x[:, :1], "int32")) for task in build.tasks]


def numbers(x, build):
    return [TaskHead(1.0, x, x[:, :1]) for task in build.tasks]
"""

EXPECTED = {
    "raises": r"fails in .*odd_bodies\.py, line 8: NameError: name 'no_such_name' is not defined;",
    "misuses": r"fails in .*odd_bodies\.py, line 12: TypeError: 'NoneType' object.*;",
    "nothing": "expected a list of 2 TaskHead, one for each of ctr, cvr, received NoneType;",
    "too_few": "expected a list of 2 TaskHead, one for each of ctr, cvr, received 1: TaskHead;",
    "tuples": "expected a list of 2 TaskHead, one for each of ctr, cvr, received 2: tuple, tuple;",
    "wide_logit": r"expected 'logit' of task 'ctr' to be \[B, 1\], received \[B, \d+\];",
    "unequal": r"expected 'tower' of task 'cvr' to be \[B, width, the same for all tasks\],"
    r" received \[B, 9\];",
    "flat": r"expected 'representation' of task 'ctr' to be \[B, width, the same for all tasks\],"
    r" received \[B\];",
    "whole": "expected 'logit' of task 'ctr' to be float, received int32;",
    "numbers": "expected 'representation' of task 'ctr' to be a tensor that Keras makes of its"
    " inputs, received float;",
}


@pytest.fixture
def bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = "\n".join(f"{name} = odd_bodies:{name}" for name in EXPECTED)
    install(monkeypatch, tmp_path, "odd_bodies", CODE, {BODIES: points})
    yield
    installed.cache_clear()


@pytest.mark.usefixtures("bodies")
@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_wrong_with_a_body_is_one_line(
    name: str, dataset_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    named = rf"^backbone\.body: '{name}' of package odd_bodies \(odd_bodies:{name}\):? "
    with pytest.raises(InputError, match=named + EXPECTED[name]) as error:
        pretrain(variant(f"backbone.body={name}"), dataset_dir, job)
    assert one_line(error).endswith("; mend it, or choose another")
    assert not (job.backbone / "experiment.json").exists()


def test_a_body_that_no_package_has_is_looked_for_somewhere() -> None:
    with pytest.raises(InputError, match=r"no body; did you mean 'mmoe'.* pip install"):
        variant("backbone.body=mmoee")
