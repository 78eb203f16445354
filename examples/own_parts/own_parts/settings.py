"""Settings of the kind ``cyclic_time``."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from domain_kernels.parts import OneColumn, ReadAs


class CyclicTimeFeature(OneColumn):
    """The row's moment as a point on a circle: 23:59 is next to 00:00."""

    read_as: ClassVar[ReadAs] = "timestamp"
    computed_by: ClassVar[str] = "own_parts.cyclic_time:CyclicTime"

    kind: Literal["cyclic_time"]
    period_hours: PositiveInt = 24

    def output_names(self, name: str) -> tuple[str, ...]:
        return (f"{name}_sine", f"{name}_cosine")
