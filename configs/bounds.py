"""Holds the bounds of numbers in a config: no setting can be so large that a program which takes it
fails in the middle of its work.
"""

from typing import Annotated

from pydantic import Field

LARGEST_INDEX = 2**31 - 2
"""The largest int32 that still has a successor: ids, rows and steps are counted in int32."""

Count = Annotated[int, Field(ge=1, le=LARGEST_INDEX)]
"""How many: rows, steps, epochs, ids."""

CountOrNone = Annotated[int, Field(ge=0, le=LARGEST_INDEX)]
"""The same, or none."""

Width = Annotated[int, Field(ge=1, le=65_536)]
"""Units of a layer, or layers and parts of a model."""

Depth = Annotated[int, Field(ge=0, le=1_000)]
"""Layers that a model may also do without."""

Rate = Annotated[float, Field(ge=1e-30, le=1e6)]
"""A learning rate, a standard deviation: float32 holds it and its square."""

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
"""How much something counts; 0 is not at all."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
