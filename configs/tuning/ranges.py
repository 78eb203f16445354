"""Defines what ``trainer.task tune`` may try: a range for each of some settings."""

from itertools import permutations
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from configs.section import Section

TUNABLE = ("features", "backbone", "pretrain", "tasks")
"""Sections that decide what a backbone learns from the same rows."""

Bound = Annotated[float, Field(strict=True, ge=-1e12, le=1e12)]
"""Of a range; whole where the setting is."""


class Range(Section):
    """What a setting may be: a number from ``low`` to ``high``, both included, or one of
    ``choices``.
    """

    low: Bound | None = Field(None, description="the least that is tried")
    high: Bound | None = Field(None, description="the most that is tried")
    log: bool = Field(False, description="even in the logarithm: for rates and widths")
    choices: tuple[Any, ...] = Field((), description="of any kind: numbers, texts, lists, sections")

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        bounds = (self.low, self.high)
        if self.choices:
            if bounds != (None, None) or self.log:
                raise ValueError("expected 'choices', or 'low' and 'high'; received both")
            if any(one == other for one, other in permutations(map(repr, self.choices), 2)):
                raise ValueError("'choices' repeats itself")
            if len(self.choices) < 2:
                raise ValueError("expected at least two choices, received one")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected 'low' and 'high', or 'choices'")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: expected a low above 0, received {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """What has to be possible for all of it to be: every choice, or both bounds."""
        return self.choices or (self.low, self.high)


def _check_keys(ranges: dict[str, Range]) -> dict[str, Range]:
    for key in ranges:
        section, _, rest = key.partition(".")
        if section not in TUNABLE:
            raise ValueError(
                f"'{key}' decides nothing of how a backbone is trained; expected a key in"
                f" {', '.join(TUNABLE)}"
            )
        if rest and not all(rest.split(".")):
            raise ValueError(f"'{key}' is no dotted key, such as pretrain.learning_rate")
    for above, below in permutations(ranges, 2):
        if below.startswith(f"{above}."):
            raise ValueError(f"'{above}' holds '{below}'; expected one of them")
    return ranges


Ranges = Annotated[dict[str, Range], AfterValidator(_check_keys)]
"""Dotted key of the config -> its range."""
