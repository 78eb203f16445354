"""The bodies: one line each, and those of other packages."""

from importlib.metadata import EntryPoint
from typing import Any, cast

import keras

from configs.plugins import BODIES, answering_for, installed, load, unfit
from trainer.backbone.bodies.builder import Body, Build, TaskHead
from trainer.backbone.bodies.esmm import esmm
from trainer.backbone.bodies.hamur import hamur
from trainer.backbone.bodies.mmoe import mmoe
from trainer.backbone.bodies.pepnet import pepnet
from trainer.backbone.bodies.ple import ple
from trainer.backbone.bodies.shared_bottom import shared_bottom
from trainer.backbone.bodies.star import star

_BODIES: dict[str, Body] = {
    "shared_bottom": shared_bottom,
    "esmm": esmm,
    "mmoe": mmoe,
    "ple": ple,
    "star": star,
    "pepnet": pepnet,
    "hamur": hamur,
}

_WHERE = "backbone.body"


def body_named(name: str) -> Body:
    """A body; that of an installed package is loaded. Raises ``InputError``."""
    return _BODIES[name] if name in _BODIES else cast(Body, load(installed(BODIES)[name]))


def build_body(x: Any, build: Build) -> list[TaskHead]:
    """The heads that the body of the settings gives, one for each of ``build.tasks``.

    Args:
      x: symbolic features ``[B, D]``.
      build: the backbone under construction.

    Raises:
      InputError: a package's body cannot be loaded, fails, or gives back something else.
    """
    name = build.settings.body
    body = body_named(name)
    if name in _BODIES:
        return body(x, build)
    point = installed(BODIES)[name]
    with answering_for(point, _WHERE):
        heads = body(x, build)
    _check_heads(heads, build, point)
    return heads


def _check_heads(heads: Any, build: Build, point: EntryPoint) -> None:
    """Raises ``InputError`` where a package's body gives something else than a head a task."""
    listed = f"a list of {len(build.tasks)} TaskHead, one for each of {', '.join(build.tasks)}"
    if not isinstance(heads, list | tuple):
        raise unfit(point, _WHERE, listed, type(heads).__name__)
    if len(heads) != len(build.tasks) or not all(isinstance(head, TaskHead) for head in heads):
        kinds = ", ".join(type(head).__name__ for head in heads) or "none"
        raise unfit(point, _WHERE, listed, f"{len(heads)}: {kinds}")
    for task, head in zip(build.tasks, heads, strict=True):
        for part in TaskHead._fields:
            if wrong := _unfit_tensor(getattr(head, part), getattr(heads[0], part), part):
                raise unfit(point, _WHERE, f"'{part}' of task '{task}' to be {wrong[0]}", wrong[1])


def _unfit_tensor(tensor: Any, of_first: Any, part: str) -> tuple[str, str] | None:
    """What a part of a head should be, and what it is; None where it is that.

    Args:
      tensor: the part.
      of_first: that of the first task's head, which is as wide.
      part: of ``TaskHead``.
    """
    if not isinstance(tensor, keras.KerasTensor):
        return "a tensor that Keras makes of its inputs", type(tensor).__name__
    shape = tuple(tensor.shape)
    width = 1 if part == "logit" else of_first.shape[-1]
    if shape == (None, width) and width is not None:
        if keras.backend.is_float_dtype(tensor.dtype):
            return None
        return "float", str(tensor.dtype)
    of = "1" if part == "logit" else "width, the same for all tasks"
    return f"[B, {of}]", f"[{', '.join('B' if size is None else str(size) for size in shape)}]"
