"""Features that become ids: one value a row, several, or several columns as one."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.features.settings import (
    Embedded,
    FeatureSettings,
    ReadAs,
    Vocabulary,
)
from configs.section import Count, Section, Width

ListLength = Annotated[int, Field(ge=1, le=1000)]
"""Elements that are read of a list."""


class Transformer(Section):
    """Self-attention between the entries of a list (Chen et al. 2019, Behavior Sequence
    Transformer, section 2.2).
    """

    blocks: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="of attention and a dense layer, one on another"
    )
    heads: Annotated[int, Field(ge=1, le=16)] = Field(
        2, description="of attention; a vector is cut into as many parts"
    )


class _Categorical(Embedded):
    training_only = Embedded.training_only | {"id_dropout"}

    vocabulary: Vocabulary | None = None
    hash_buckets: Count | None = Field(
        None, description="hash into this many ids instead of keeping a vocabulary"
    )
    oov_buckets: Count = Field(1, description="ids for values outside the vocabulary")
    id_dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description=(
            "share of known ids that pre-training replaces by an out-of-vocabulary id, so that its"
            " row is trained"
        ),
    )

    @model_validator(mode="after")
    def _one_way_to_ids(self) -> "_Categorical":
        if self.vocabulary and self.hash_buckets:
            raise ValueError("both 'vocabulary' and 'hash_buckets' are given; expected one of them")
        if self.hash_buckets and (self.id_dropout or self.oov_buckets != 1):
            raise ValueError(
                "hashed ids have no out-of-vocabulary ids; 'id_dropout' and 'oov_buckets' cannot be"
                " given beside 'hash_buckets'"
            )
        return self

    @property
    def oov_ids(self) -> int:
        return 0 if self.hash_buckets else self.oov_buckets

    @property
    def hashed_ids(self) -> int:
        return self.hash_buckets or 0

    @property
    def dropped_ids(self) -> float:
        return self.id_dropout


class Pretrained(Section):
    """Vectors of ids that another model has learned: Parquet files with a row for each id."""

    path: str = Field(description="glob of the files; read by pretrain alone")
    id: str = Field("id", description="column of the ids, as they are in the logs")
    vector: str = Field("vector", description="column of lists of 'dimension' numbers")
    trained: bool = Field(False, description="whether pre-training goes on learning them")


class CategoricalFeature(_Categorical):
    """One value a row, read as a string. Missing (null or empty) is id 0."""

    read_as = "string"
    training_only = _Categorical.training_only | {"pretrained"}
    gives_value_ids = True

    kind: Literal["categorical"]
    pretrained: Pretrained | None = Field(
        None,
        description=(
            "vectors that the table starts from; ids without one, and values outside the"
            " vocabulary, start from the mean of those that are used"
        ),
    )

    @model_validator(mode="after")
    def _vectors_have_a_place(self) -> "CategoricalFeature":
        if self.pretrained and not self.vocabulary:
            raise ValueError("'pretrained' vectors need a 'vocabulary', whose ids they belong to")
        if self.pretrained and not self.dimension:
            raise ValueError("'pretrained' needs 'dimension': how many numbers a vector has")
        return self

    @property
    def can_debias(self) -> bool:
        return True

    @property
    def learns_vectors(self) -> bool:
        return self.pretrained is None or self.pretrained.trained

    @property
    def reads_vectors(self) -> bool:
        return self.pretrained is not None


class ListFeature(_Categorical):
    """A list of values a row, cut or padded to ``max_length``; ``shares`` names a categorical
    feature whose ids and table it uses.
    """

    read_as = "strings"
    training_only = _Categorical.training_only | {"attention", "transformer"}
    younger = frozenset({"weights", "along"})

    kind: Literal["list"]
    max_length: ListLength = Field(20, description="entries that are read; longer lists are cut")
    shares: str | None = Field(None, description="categorical feature whose ids and table it uses")
    weights: str | None = Field(
        None,
        description=(
            "column with a number for each value, its weight in the mean; missing or below 0 is 0"
        ),
    )
    along: str | None = Field(
        None,
        description=(
            "list whose entries these values belong to, one by one: they are read as part of it"
        ),
    )
    attention: bool = Field(
        False,
        description=(
            "pool by target attention with the shared feature as query; mean pooling otherwise"
        ),
    )
    transformer: Transformer | None = Field(
        None, description="self-attention between the entries before they are pooled"
    )

    @model_validator(mode="after")
    def _shared_or_own(self) -> "ListFeature":
        if self.shares and (self.vocabulary or self.hash_buckets or self.dimension):
            raise ValueError(
                "'shares' takes ids and table from another feature; 'vocabulary', 'hash_buckets'"
                " and 'dimension' cannot be given beside it"
            )
        if self.attention and not self.shares:
            raise ValueError("'attention' needs 'shares': the feature it shares with is the query")
        pooling = [key for key in ("weights", "attention", "transformer") if getattr(self, key)]
        if self.along and pooling:
            raise ValueError(
                f"'{pooling[0]}' cannot be given beside 'along': '{self.along}' says how its"
                " entries are pooled"
            )
        if self.weights and len(pooling) > 1:
            raise ValueError(f"'weights' are of the mean; '{pooling[1]}' cannot be given beside it")
        return self

    def reads(self, name: str, features: Mapping[str, FeatureSettings]) -> dict[str, ReadAs]:
        column = super().reads(name, features)
        return {**column, self.weights: "numbers"} if self.weights else column

    def output_names(self, name: str) -> tuple[str, ...]:
        return (name, f"{name}_weights") if self.weights else (name,)

    @property
    def belongs_to(self) -> str | None:
        return self.along

    @property
    def weighed_by(self) -> str | None:
        return self.weights

    @property
    def list_length(self) -> int:
        return self.max_length

    @property
    def self_attention(self) -> tuple[int, int] | None:
        return (self.transformer.blocks, self.transformer.heads) if self.transformer else None

    @property
    def shares_ids_of(self) -> str | None:
        return self.shares

    @property
    def pools_by_attention(self) -> bool:
        return self.attention


class CrossFeature(FeatureSettings):
    """The values of several columns of a row as one id, hashed; missing (id 0) where one of them
    is.

    The table's size is the config's choice, not the data's: a row's id is its hash, so ids that no
    row had before need no vocabulary, and ids that hash alike share a row of the table (Cheng et
    al. 2016, Wide & Deep Learning, section 3.1, crosses features this way). ``side`` is the item's
    where a column of it is; columns that no other feature reads are of that side.
    """

    read_as = "string"

    kind: Literal["cross"]
    columns: Annotated[
        tuple[str, ...],
        Field(
            min_length=2,
            description=(
                "raw columns read as strings, hours and weekdays of a timestamp feature"
                " (``NAME_hour``) and numeric features with ``quantile_buckets``, joined in this"
                " order"
            ),
        ),
    ]
    hash_buckets: Annotated[int, Field(ge=1, lt=2**31 - 1, description="ids are 1..hash_buckets")]
    dimension: Width | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )

    @model_validator(mode="after")
    def _different_columns(self) -> "CrossFeature":
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise ValueError(f"'columns' names '{column}' twice; expected different columns")
        return self

    def reads(self, name: str, features: Mapping[str, FeatureSettings]) -> dict[str, ReadAs]:
        read: dict[str, ReadAs] = {}
        for column in self.columns:
            made_by = crossed_feature(column, features)
            read |= features[made_by].reads(made_by, features) if made_by else {column: "string"}
        return read

    @property
    def width(self) -> int | None:
        return self.dimension

    @property
    def hashed_ids(self) -> int:
        return self.hash_buckets

    @property
    def joins_columns(self) -> bool:
        return True


def crossed_feature(column: str, features: Mapping[str, FeatureSettings]) -> str | None:
    """The feature one of whose outputs a cross names in the place of a raw column; None where it
    names a raw column.
    """
    for name, settings in features.items():
        if settings.can_be_crossed and column in settings.output_names(name):
            return name
    return None
