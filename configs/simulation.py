"""Settings of the simulated food-delivery marketplace."""

from pydantic import Field, PositiveInt

from configs.base import Section, UtcDatetime


class Simulation(Section):
    """A food-delivery marketplace: its size, and how far interests differ between domains (all of it our choice)."""

    rows: PositiveInt = Field(300_000, description="impressions over all days, about; --rows overrides")
    start: UtcDatetime
    days: PositiveInt = 14
    users: PositiveInt = 20_000
    shops: PositiveInt = 2_000
    cuisines: PositiveInt = 20
    candidates: PositiveInt = Field(10, le=100, description="shops shown in one request, one a position")
    history: PositiveInt = Field(20, le=100, description="clicked shops kept in the behaviour sequence, newest first")
    shift: float = Field(1.0, ge=0.0, le=10.0, description="how far interests differ by scene, period and region; 0 is not at all")
