"""What a feature is: its raw column, its side, and how it becomes ids or numbers."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from configs.base import Section, TimeZoneName

Side = Literal["user", "item", "context"]


class Vocabulary(Section):
    """Values kept with an id of their own, counted on what the backbone learns from (``Experiment.fitted_on``) and nothing else."""

    min_count: PositiveInt = 1
    max_size: PositiveInt = 1_000_000


class _Feature(Section):
    side: Side
    column: str | None = Field(None, description="raw column; the feature's own name where absent")


class _Embedded(_Feature):
    dimension: PositiveInt | None = Field(None, description="embedding width; backbone.embedding_dimension where absent")


class _Categorical(_Embedded):
    vocabulary: Vocabulary | None = None
    hash_buckets: PositiveInt | None = Field(None, description="hash into this many ids instead of keeping a vocabulary")
    oov_buckets: PositiveInt = Field(1, description="ids for values outside the vocabulary")
    id_dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of known ids that pre-training replaces by an out-of-vocabulary id, so that its row is trained",
    )

    @model_validator(mode="after")
    def _one_way_to_ids(self) -> "_Categorical":
        if self.vocabulary and self.hash_buckets:
            raise ValueError("both 'vocabulary' and 'hash_buckets' are given; expected one of them")
        if self.hash_buckets and (self.id_dropout or self.oov_buckets != 1):
            raise ValueError(
                "hashed ids have no out-of-vocabulary ids; 'id_dropout' and 'oov_buckets' cannot be given beside 'hash_buckets'"
            )
        return self


class CategoricalFeature(_Categorical):
    """One value a row, read as a string. Missing (null or empty) is id 0."""

    kind: Literal["categorical"]


class ListFeature(_Categorical):
    """A list of values a row, cut or padded to ``max_length``; ``shares`` names a categorical feature whose ids and table it uses."""

    kind: Literal["list"]
    max_length: Annotated[int, Field(ge=1, le=1000)] = 20
    shares: str | None = None
    attention: bool = Field(False, description="pool by target attention with the shared feature as query; mean pooling otherwise")

    @model_validator(mode="after")
    def _shared_or_own(self) -> "ListFeature":
        if self.shares and (self.vocabulary or self.hash_buckets or self.dimension):
            raise ValueError(
                "'shares' takes ids and table from another feature; 'vocabulary', 'hash_buckets' and 'dimension' cannot be given beside it"
            )
        if self.attention and not self.shares:
            raise ValueError("'attention' needs 'shares': the feature it shares with is the query")
        return self


class NumericFeature(_Embedded):
    """One number a row. Missing (null) becomes the mean, 0 after standardising, or bucket 0."""

    kind: Literal["numeric"]
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = True
    quantile_buckets: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="embed the quantile bucket instead of feeding the number"
    )


class TimestampFeature(_Embedded):
    """The row's moment as embedded parts, in ``time_zone``."""

    kind: Literal["timestamp"]
    parts: tuple[Literal["hour", "weekday"], ...] = ("hour", "weekday")
    time_zone: TimeZoneName = "UTC"


Feature = Annotated[CategoricalFeature | ListFeature | NumericFeature | TimestampFeature, Field(discriminator="kind")]
