"""Defines the whole experiment: every section, and what must hold between sections."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from itertools import product
from os import PathLike
from typing import Annotated, Any

from pydantic import (
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from configs.calls.argument_types import checks_arguments
from configs.consistency import (
    check_body_topics,
    check_columns,
    check_cross_topics,
    check_domains,
    check_memory,
    check_scores,
    check_segments,
    check_topics,
)
from configs.domains import ALL, Domain, Topic, enumerate_domains
from configs.errors import in_words_of_python
from configs.features import Feature
from configs.features.checks import (
    check_features,
    check_timestamp_features,
    check_transformers,
    check_vectors,
)
from configs.features.numbers import Numbers
from configs.memory import Memory
from configs.operations.drift import Drift
from configs.operations.growth import Growth
from configs.operations.refresh import Refresh
from configs.prediction.expressions import LONGEST
from configs.prediction.score import check_score
from configs.prediction.tasks import Tasks
from configs.section import (
    Count,
    CountOrNone,
    SafeName,
    Section,
    Seed,
    TimeZoneName,
    UtcDatetime,
)
from configs.simulation import Simulation
from configs.training import MINIMUM_POSITIVES, Backbone, Finetune, Kernel, Pretrain, Routing
from configs.tuning.ranges import Ranges
from configs.windows.relative import with_moments


class Data(Section):
    """Where the logs are and which columns identify a row."""

    input: str | None = Field(
        None,
        description=(
            "glob of CSV, JSON lines or Parquet files, on any Beam filesystem; --input overrides"
        ),
    )
    timestamp: str = Field(
        description=(
            "column with the row's moment: a timestamp, ISO 8601 text, or seconds since 1970"
        )
    )
    request: str = Field(description="column whose rows are ranked against each other (GAUC)")
    as_of: UtcDatetime | None = Field(
        None,
        description=(
            "when the logs were written: labels are known as far as they were then"
            " (tasks.*.matured_after). The end of the last split where null"
        ),
    )
    time_zone: TimeZoneName = Field(
        "UTC", description="whose days are counted: 'as_of - 6d' in a window, and what a date means"
    )
    day_starts: Annotated[int, Field(ge=0, le=23)] = Field(
        0, description="local hour at which a day begins"
    )
    user: str = Field(description="column of the user: the unit that is resampled for intervals")
    weight: str | None = Field(None, description="column with the sample weight; 1 where absent")
    row_key: tuple[str, ...] = Field(
        (), description="columns that identify a row; later rows with the same key are rejected"
    )
    max_conversion_without_click: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description=(
            "tolerated share of rows where a task's label is 1 and the label it waits on is 0, such"
            " as a conversion without a click; such rows are rejected"
        ),
    )
    max_rejected: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description=(
            "tolerated share of rows that are rejected for other reasons, and, of the rows that"
            " could carry a label, of those whose label is none; beyond it the job stops"
        ),
    )
    null_values: tuple[str, ...] = Field(
        ("", "NULL", "\\N"),
        description=(
            "text that means a missing value in CSV and JSON, also as an element of a list; empty"
            " text always does"
        ),
    )
    topic_columns: tuple[str, ...] = Field(
        (),
        description=(
            "raw columns that datasets keep beside those of topics, so that a later topic can read"
            " them; text where no feature reads them otherwise"
        ),
    )
    batch_rows: PositiveInt = Field(
        65_536, le=1_048_576, description="rows a Beam element and an output file hold at most"
    )


class Split(Section):
    """Rows with start <= timestamp < end; in a config each may be counted from ``as_of``, as in
    ``as_of - 6d`` (``configs.windows.relative``).
    """

    start: UtcDatetime = Field(description="the first moment that is in it, ISO 8601")
    end: UtcDatetime = Field(description="the first moment after it")

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.end - self.start) / timedelta(days=1)

    @model_validator(mode="after")
    def _not_empty(self) -> "Split":
        if self.start >= self.end:
            raise ValueError(
                f"start {self.start.isoformat()} is not before end {self.end.isoformat()}"
            )
        return self


class Truth(Section):
    """True probabilities of a simulation, read by evaluation alone."""

    path: str = Field(description="glob of Parquet files; relative to the folder of the logs")
    key: str = Field(
        "impression_id", description="column, in the logs and in the side file, that joins them"
    )


class Page(Section):
    """By what it is judged how the score orders the rows of a request."""

    label: str = Field(description="label column of a task: what there is to gain")
    top: Count = Field(10, description="rows that a page shows")


class Evaluation(Section):
    """How results are judged."""

    split: str = Field("test", description="the split that is judged")
    bootstrap: Count = Field(200, description="resamples of users for each interval")
    minimum_positives: CountOrNone = Field(
        MINIMUM_POSITIVES,
        description=(
            "a task with fewer positives, or fewer negatives, among the rows that are judged is"
            " undecidable there: it gets no figure"
        ),
    )
    segments: tuple[str, ...] = Field(
        (),
        description=(
            "raw columns that datasets keep, by whose values results are reported, too: text by its"
            " 20 most frequent values, numbers in quartiles"
        ),
    )
    truth: Truth | None = None
    page: Page | None = Field(
        None, description="NDCG, recall, MRR and GAUC of the score inside requests"
    )


class Experiment(Section):
    """One experiment; the only thing that commands read settings from."""

    name: SafeName = Field(description="of the experiment; letters, digits, '_', '.' and '-'")
    seed: Seed = Field(17, description="decides every random draw")
    as_of: UtcDatetime | None = Field(
        None,
        description=(
            "the moment that windows are counted from, as in 'as_of - 6d': a date (when that day"
            " begins) or ISO 8601; --as-of overrides it"
        ),
    )
    data: Data
    tasks: Tasks
    score: str | None = Field(
        None,
        max_length=LONGEST,
        description=(
            "how a page is ranked: an expression of tasks, such as 'click ** 0.5 * order'; the"
            " output 'score'. Where null, the end of the one funnel; needed where tasks over all"
            " rows stand side by side"
        ),
    )
    scores: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "domain of topics -> expression that ranks its pages in place of 'score', whichever"
            " kernel answers"
        ),
    )
    splits: dict[SafeName, Split] = Field(min_length=1)
    numbers: Numbers | None = Field(
        None, description="settings of numeric features that say nothing themselves"
    )
    features: dict[SafeName, Feature] = Field(min_length=1)
    topics: dict[SafeName, Topic] = Field(default_factory=dict)
    cross_topics: tuple[tuple[str, str], ...] = Field(
        (), description="pairs of topics; each pair of their values is a domain"
    )
    backbone: Backbone = Backbone()
    pretrain: Pretrain = Pretrain()
    growth: Growth = Growth()
    kernel: Kernel = Kernel()
    memory: Memory | None = None
    routing: Routing = Routing()
    finetune: Finetune = Finetune()
    evaluation: Evaluation = Evaluation()
    refresh: Refresh = Refresh()
    drift: Drift = Drift()
    tune: Ranges = Field(
        default_factory=dict,
        description=(
            "settings that trainer.task tune tries, by their dotted keys: 'low' and 'high', or"
            " 'choices'"
        ),
    )
    simulation: Simulation | None = None

    @classmethod
    @checks_arguments
    def load(cls, path: str | PathLike[str], overrides: str | Iterable[str] = ()) -> "Experiment":
        """Reads an experiment from a file, as every command does.

        Args:
          path: YAML file.
          overrides: ``key.path=value`` texts, each as ``--set`` takes it; ``as_of=DATE`` says what
            windows count from that are written as ``as_of - 6d``. One text is a list of one.

        Raises:
          ConfigError: the file cannot be read, is no YAML mapping, or does not describe a valid
            experiment; one line says what is wrong with which key.
        """
        from configs import load_experiment  # YAML is read on the floor above

        texts = [overrides] if isinstance(overrides, str) else overrides
        with in_words_of_python({"--set": "overrides:"}):
            return load_experiment(path, texts)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The distinct label columns, in the order of the tasks."""
        return self.tasks.labels

    def columns_of(self, feature: str) -> tuple[str, ...]:
        """The raw columns a feature reads."""
        return tuple(self.features[feature].reads(feature, self.features))

    def column_of(self, feature: str) -> str:
        """The raw column of a feature that reads one."""
        (column,) = self.columns_of(feature)
        return column

    @cached_property
    def lists_alike(self) -> tuple[tuple[str, str], ...]:
        """Pairs of raw columns whose lists have as many elements in every row: a list, and what
        is read along it or are its weights.
        """
        pairs = []
        for name, settings in self.features.items():
            own, along, weights = self.columns_of(name)[0], settings.belongs_to, settings.weighed_by
            pairs += [(self.columns_of(along)[0], own)] if along else []
            pairs += [(own, weights)] if weights else []
        return tuple(pairs)

    @cached_property
    def known_before(self) -> dict[str, datetime]:
        """Label column -> rows before this moment carry it, of the labels that are known only after
        a time (``Task.matured_after``).
        """
        as_of = self.data.as_of or max(split.end for split in self.splits.values())
        try:
            return {
                label: as_of - timedelta(hours=hours)
                for label, hours in self.tasks.matured_after.items()
            }
        except OverflowError:
            raise ValueError(
                f"data.as_of: there is no moment so many hours before {as_of.isoformat()}"
                " (tasks.*.matured_after)"
            ) from None

    @property
    def user_feature(self) -> str | None:
        """The categorical feature that reads ``data.user``; None where there is none."""
        return next(
            (
                name
                for name, spec in self.features.items()
                if spec.gives_value_ids and self.column_of(name) == self.data.user
            ),
            None,
        )

    @cached_property
    def domains(self) -> tuple[Domain, ...]:
        """Every domain of the experiment: ``all``, single-topic, then cross-topic."""
        return enumerate_domains(self.topics, self.cross_topics)

    @property
    def ranked_by(self) -> dict[str, str]:
        """Domain -> the expression that ranks its pages; ``all`` has that of all others."""
        return {ALL: self.score or str(self.tasks.ranked_by), **self.scores}

    @cached_property
    def transform_settings(self) -> dict[str, Any]:
        """What decides the outputs of the feature transform, JSON-ready: features, less what only
        training reads.
        """
        return {
            "features": {name: spec.decisive() for name, spec in self.features.items()},
            "order": {"features": list(self.features)},  # digests sort keys; order gives meaning
        }

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """The splits that the transform is fitted on: all that the backbone learns from."""
        return (
            (self.pretrain.split, self.finetune.split)
            if self.pretrain.progressive
            else (self.pretrain.split,)
        )

    @cached_property
    def data_digest(self) -> str:
        """sha256 over the settings that decide what preprocessing writes, but which raw columns it
        keeps for topics.
        """
        return self.data_digest_with(self.transform_settings)

    def data_digest_with(self, transform_settings: dict[str, Any]) -> str:
        """The same with other settings of the transform: datasets that are older than raw columns
        have topics among them.
        """
        same_rows = {"input", "topic_columns", "max_rejected", "as_of", "time_zone", "day_starts"}
        if self.data.null_values == Data.model_fields["null_values"].default:
            same_rows.add("null_values")  # datasets that are older than it keep their digest
        shown = {
            **transform_settings,
            "data": self.data.model_dump(mode="json", exclude=same_rows),
            "tasks": self.tasks.spaces,
            "splits": {name: split.model_dump(mode="json") for name, split in self.splits.items()},
            "fitted_on": self.fitted_on if self.pretrain.progressive else self.pretrain.split,
            "truth_key": self.evaluation.truth.key if self.evaluation.truth else None,
        }
        if self.known_before:  # labels that are missing on younger rows are 0
            known = {label: moment.isoformat() for label, moment in self.known_before.items()}
            shown["known_before"] = known
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()

    @model_serializer(mode="wrap")
    def _as_it_was(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out sections that are younger than experiments which are kept by their digest,
        where they say nothing.
        """
        written: dict[str, Any] = write(self)
        for name, untouched in (("drift", Drift()), ("growth", Growth()), ("refresh", Refresh())):
            if getattr(self, name) == untouched:
                written.pop(name, None)
        return written

    @model_validator(mode="before")
    @classmethod
    def _windows_are_moments(cls, values: Any) -> Any:
        """Works out what windows count from ``as_of``; what is stored of an experiment has it."""
        return with_moments(values) if isinstance(values, dict) else values

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_alike(cls, values: Any) -> Any:
        """Fills the settings of numeric features; what is stored of an experiment has them."""
        if not isinstance(values, dict) or values.get("numbers") is None:
            return values
        features = values.get("features")
        if not isinstance(features, dict):
            return values
        try:
            numbers = Numbers.model_validate(values["numbers"])
        except ValidationError:
            return values  # the field's own check says what is wrong
        filled = {name: numbers.fill(feature) for name, feature in features.items()}
        return {**values, "features": filled}

    @model_validator(mode="after")
    def _score_is_sound(self) -> "Experiment":
        page = self.evaluation.page
        if page and page.label not in self.label_columns:
            raise ValueError(
                f"evaluation.page.label: '{page.label}' is no label of a task; expected one of"
                f" {', '.join(self.label_columns)}"
            )
        if self.score is None and self.tasks.ranked_by is None:
            raise ValueError(
                "score: missing; it says how a page is ranked where tasks stand side by side, as"
                f" {', '.join(self.tasks.ranking)} do"
            )
        if self.score is not None:
            check_score(self.score, tuple(self.tasks.targets), "score")
        return self

    @model_validator(mode="after")
    def _splits_exist(self) -> "Experiment":
        named = {
            "pretrain.split": self.pretrain.split,
            "pretrain.validation": self.pretrain.validation,
            "finetune.split": self.finetune.split,
            "finetune.validation": self.finetune.validation,
            "evaluation.split": self.evaluation.split,
        }
        for key, split in named.items():
            if split not in self.splits:
                raise ValueError(
                    f"{key}: '{split}' is no split; the config has: {', '.join(self.splits)}"
                )
        judging = dict.fromkeys(
            (self.pretrain.validation, self.finetune.validation, self.evaluation.split)
        )
        for judge, trained in product(judging, (self.pretrain.split, self.finetune.split)):
            if (
                self.splits[judge].start < self.splits[trained].end
                and self.splits[trained].start < self.splits[judge].end
            ):
                raise ValueError(
                    f"splits.{judge} overlaps splits.{trained}: rows that judge a model must not"
                    " train it"
                )
        begin, end = self.splits[self.finetune.split].start, self.splits[self.pretrain.split].end
        if self.pretrain.progressive and begin < end:
            raise ValueError(
                f"pretrain.progressive: learns in order of time; splits.{self.finetune.split}"
                f" begins at {begin.isoformat()}, before splits.{self.pretrain.split} ends at"
                f" {end.isoformat()}"
            )
        return self

    @model_validator(mode="after")
    def _labels_are_known(self) -> "Experiment":
        learned = dict.fromkeys((self.pretrain.split, self.finetune.split))
        for (label, moment), name in product(self.known_before.items(), learned):
            if self.splits[name].start >= moment:
                raise ValueError(
                    f"matured_after: rows carry '{label}' if they are before"
                    f" {moment.isoformat()}, and splits.{name}, which is learned from, begins at"
                    f" {self.splits[name].start.isoformat()}; let it begin earlier, or give the"
                    " data.as_of at which the logs were written, if that was later"
                )
        latest = max(self.tasks.matured_after.values(), default=0.0)
        if self.memory and self.memory.delay_hours < latest:
            raise ValueError(
                f"memory.delay_hours: {self.memory.delay_hours:g}, and labels are known after"
                f" {latest:g} h (tasks.*.matured_after); expected at least as much, or memory would"
                " count labels that nobody knows yet"
            )
        return self

    @model_validator(mode="after")
    def _features_and_topics_are_sound(self) -> "Experiment":
        debias = self.backbone.debias
        check_features(self.features, self.label_columns, debias.feature if debias else None)
        check_vectors(self.features)
        check_transformers(self.features, self.backbone.embedding_dimension)
        check_topics(self.topics, self.data.topic_columns, self.data.timestamp, self.label_columns)
        check_memory(self.memory.keys if self.memory else {}, self.label_columns)
        check_cross_topics(self.topics, self.cross_topics)
        check_domains(self.domains)
        check_scores(self.scores, self.domains, tuple(self.tasks.targets))
        return self

    @model_validator(mode="after")
    def _gate_can_be_served(self) -> "Experiment":
        if self.kernel.gate == "none":
            return self
        if not self.kernel.residual:
            raise ValueError(
                "kernel.gate: a gate weighs what a kernel adds to the backbone's logit; expected"
                " 'kernel.residual: true'"
            )
        if self.backbone.debias and self.backbone.debias.feature == self.user_feature:
            raise ValueError(
                f"kernel.gate: reads '{self.user_feature}', which is backbone.debias.feature and"
                " not known at serving"
            )
        if self.user_feature is None:
            raise ValueError(
                "kernel.gate: expected a categorical feature that reads data.user"
                f" '{self.data.user}'; there is none"
            )
        return self

    @model_validator(mode="after")
    def _body_reads_its_topics(self) -> "Experiment":
        check_body_topics(self.backbone.body, self.backbone.topics, self.topics)
        return self

    @model_validator(mode="after")
    def _columns_are_read_one_way(self) -> "Experiment":
        data = self.data
        others = [("data.timestamp", data.timestamp, "timestamp")]
        others += [("data.weight", data.weight, "weight")] if data.weight else []
        others += [("tasks", label, "label") for label in self.label_columns]
        truth = (self.evaluation.truth.key,) if self.evaluation.truth else ()
        check_timestamp_features(self.features, data.timestamp)
        keys = (data.request, data.user, *data.row_key, *truth)
        remembered = self.memory.keys if self.memory else {}
        kept = data.topic_columns
        check_columns(self.features, self.topics, remembered, kept, others, keys)
        segments = self.evaluation.segments
        check_segments(segments, self.features, self.topics, remembered, kept)
        return self
