"""Defines the settings of the simulated food-delivery marketplace."""

from typing import Annotated

from pydantic import Field, model_validator

from configs.section import Count, Rate, Section, TimeZoneName, UtcDatetime


class Simulation(Section):
    """A food-delivery marketplace: its size, and how far interests differ between domains (all
    of it our choice).
    """

    rows: Count = Field(300_000, description="impressions over all days, about; --rows overrides")
    start: UtcDatetime = Field(description="beginning of the first day; every day lasts 24 hours")
    days: Annotated[int, Field(ge=1, le=10_000)] = Field(14, description="of the log")
    time_zone: TimeZoneName = Field(
        "UTC", description="where meals are eaten: the period is read from the local hour"
    )
    users: Count = Field(20_000, description="who come back")
    shops: Count = Field(2_000, description="that can be shown")
    cuisines: int = Field(20, ge=2, le=65_536, description="kinds of shops")
    regions: Count = Field(
        4, description="delivery regions r1, r2, ...; a shop delivers in one of them"
    )
    candidates: int = Field(
        10, ge=2, le=100, description="shops shown in one request, one a position"
    )
    history: int = Field(
        20, ge=1, le=100, description="clicked shops kept in the behaviour sequence, newest first"
    )
    click_rate: float = Field(0.15, gt=0.0, lt=1.0, description="clicks per impression, about")
    conversion_rate: float = Field(0.2, gt=0.0, lt=1.0, description="orders per click, about")
    position_bias: float = Field(
        0.5,
        ge=0.0,
        le=3.0,
        description="position p is examined with probability p^-position_bias; 0 is always",
    )
    shift: float = Field(
        1.0,
        ge=0.0,
        le=10.0,
        description="how far interests differ by scene, period and region; 0 is not at all",
    )
    drift: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description=(
            "how far each domain's interests move from drift_start on; 0 is not at all, 1 is to"
            " unrelated ones"
        ),
    )
    drift_start: UtcDatetime | None = Field(
        None, description="when they begin to move; the start of the fine-tuning split where absent"
    )
    drift_days: Rate = Field(1.0, description="days until they have arrived and stay")

    @property
    def examination(self) -> tuple[float, ...]:
        """Probability that each position is looked at, first position first."""
        return tuple((position + 1.0) ** -self.position_bias for position in range(self.candidates))

    @model_validator(mode="after")
    def _shops_suffice(self) -> "Simulation":
        needed = 2 * self.regions * self.candidates
        if self.shops < needed:
            raise ValueError(
                f"{self.regions} regions of {self.candidates} candidates need {needed} shops,"
                f" received shops: {self.shops}"
            )
        return self

    @model_validator(mode="after")
    def _click_rate_is_in_reach(self) -> "Simulation":
        examined = sum(self.examination) / self.candidates
        if self.click_rate > 0.9 * examined:
            raise ValueError(
                f"a shop is examined in {examined:.3f} of its impressions only; click_rate"
                f" {self.click_rate} is out of reach"
            )
        return self
