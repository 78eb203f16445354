"""Defines what kernels remember: time-decayed counts and rates of the recent past, by keys."""

from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, model_validator

from configs.section import Count, Identifier, Rate, Section, Weight

_STORAGE = {"least_rows", "most_keys"}

Hours = Annotated[int, Field(ge=1, le=8_760)]


class Memory(Section):
    """Kernels read, beside the tap, what the logs said of a row's keys up to the last refresh: a
    rate for each task and a number of rows (``trainer.memory``).
    """

    keys: dict[Identifier, tuple[str, ...]] = Field(
        min_length=1,
        max_length=64,
        description=(
            "name -> columns of text whose values together are the key, such as item_scene:"
            " [item_id, scene]; a row that misses one of them has no such key"
        ),
    )
    refresh_hours: Hours = Field(
        1,
        description=(
            "time between two refreshes; a row reads what was known at the last one before its"
            " request"
        ),
    )
    refresh_offset_hours: int = Field(
        0, ge=0, lt=8_760, description="hours after 1970-01-01T00:00Z of a refresh"
    )
    delay_hours: Weight = Field(
        0.0, description="hours after a row until its labels are known, and count"
    )
    half_life_hours: Rate = Field(24.0, description="time in which a row loses half its weight")
    prior_rows: Rate = Field(
        10.0, description="rows that the rate of all traffic counts for, in the rate of every key"
    )
    least_rows: Weight = Field(
        0.05, description="keys of fewer rows, by weight, are forgotten when memory is stored"
    )
    most_keys: Count = Field(
        10_000_000, description="of each name the keys that are stored at most, those of most rows"
    )

    @model_validator(mode="after")
    def _keys_are_sound(self) -> "Memory":
        for name, columns in self.keys.items():
            if not 1 <= len(columns) <= 8 or len(set(columns)) != len(columns):
                raise ValueError(f"keys.{name}: expected 1 to 8 different columns")
        if self.refresh_offset_hours >= self.refresh_hours:
            raise ValueError(
                f"refresh_offset_hours: expected less than refresh_hours {self.refresh_hours},"
                f" received {self.refresh_offset_hours}"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that keys read, each once."""
        return tuple(dict.fromkeys(column for columns in self.keys.values() for column in columns))

    def width(self, tasks: int) -> int:
        """How many numbers a row reads: of every key a rate a task, and its rows."""
        return len(self.keys) * (tasks + 1)

    @property
    def definition(self) -> str:
        """What decides the numbers that kernels read, as JSON: all but what bounds the storage."""
        return self.model_dump_json(exclude=_STORAGE)

    @property
    def words(self) -> str:
        """``user, item; every 1 h, half-life 24 h``."""
        return (
            f"{', '.join(self.keys)}; every {self.refresh_hours} h, half-life"
            f" {self.half_life_hours:g} h"
        )


@lru_cache(maxsize=64)
def defined_memory(definition: str) -> Memory:
    """The memory of a definition, with default bounds of its storage."""
    return Memory.model_validate_json(definition)


def memory_definition(content: Any) -> str:
    """The definition in JSON that was read. Raises ``ValueError`` where it is none."""
    return Memory.model_validate(content).definition
