"""What an experiment may say: unknown keys, names, values, and the rules between sections."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, RootModel

from configs import Experiment
from configs.domain_definitions import Condition
from configs.domains import ALL, Domain
from configs.features.settings import Embedded, FeatureSettings, OneColumn
from configs.section import Section, parse_time_zone
from tests.configs import CONFIG, accept, refusal


def sections(model: BaseModel, path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of an experiment with its path."""
    yield path, type(model)
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, RootModel):
            value = value.root
        for key, below in (
            {"": value, **value}.items() if isinstance(value, dict) else [("", value)]
        ):
            if isinstance(below, BaseModel):
                yield from sections(below, ".".join(filter(None, [path, name, key])))


RICH = [
    "features.vector={kind: vector, side: item, size: 2}",
    "features.tags={kind: list, side: item, transformer: {}}",
    "features.ages={kind: number_list, side: item, along: tags}",
    "features.brand={kind: categorical, side: item, vocabulary: {}, dimension: 3}",
    "features.brand.pretrained.path=x",
    "numbers={}",
]
"""Features that the config has not."""
BODIES = "tune={backbone: {choices: [{body: mmoe}, {body: esmm}]}}"

SECTIONS = dict(
    sections(
        accept(
            "memory={keys: {user: [user]}}",
            "pretrain.teacher.weight=0.5",
            "tasks.ctr.ranking_loss.share=0.5",
            *RICH,
            BODIES,
        )
    )
)

NEEDED = {
    "memory": ["memory={keys: {user: [user]}}"],
    "tasks.ctr.ranking_loss": ["tasks.ctr.ranking_loss.share=0.5"],
    **dict.fromkeys(
        (
            "features.vector",
            "features.tags",
            "features.tags.transformer",
            "features.ages",
            "features.brand",
            "features.brand.vocabulary",
            "features.brand.pretrained",
            "numbers",
        ),
        RICH,
    ),
    "tune.backbone": [BODIES],
}
"""What makes a section that the config has not."""


def test_the_config_of_these_tests_has_every_section() -> None:
    def below(model: type[Section]) -> Iterator[type[Section]]:
        for section in model.__subclasses__():
            yield section
            yield from below(section)

    public = {
        section
        for section in below(Section)
        if section.__module__.startswith("configs.") and not section.__name__.startswith("_")
    } - {
        FeatureSettings,
        OneColumn,
        Embedded,
        Condition,
    }  # what its kinds share; what a kernel carries
    assert set(SECTIONS.values()) == public - {Condition}  # what a kernel carries


@pytest.mark.parametrize("path", SECTIONS)
def test_an_unknown_key_names_the_nearest_known_one(path: str) -> None:
    for key in SECTIONS[path].model_fields:
        where = f"{path}: " if path else ""
        assert (
            refusal(*NEEDED.get(path, ()), f"{path}.{key}x=1".lstrip("."))
            == f"config: {where}unknown key '{key}x'; did you mean '{key}'?"
        )


@pytest.mark.parametrize("path", SECTIONS)
def test_a_key_like_no_other_gets_the_whole_list(path: str) -> None:
    known = ", ".join(SECTIONS[path].model_fields)
    unknown = refusal(*NEEDED.get(path, ()), f"{path}.@@@=1".lstrip("."))
    assert unknown.endswith(f"unknown key '@@@'; known keys: {known}")


UNSAFE = [
    "../x",
    "a/b",
    "",
    ".hidden",
    "-x",
    "a b",
    "a\nb",
    "é",
    "x" * 65,
    "a\\b",
    "a=b",
    "a,b",
    "a\0",
]


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
@pytest.mark.parametrize("section", ["features", "topics", "splits"])
def test_names_that_could_become_paths_or_break_requests_are_refused_as_keys(
    section: str, name: str
) -> None:
    experiment = accept().model_dump(mode="json")
    experiment[section][name] = next(iter(experiment[section].values()))
    assert "cannot be used as a name" in refusal(text=str(experiment).replace("None", "null"))


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
def test_names_that_could_become_paths_or_break_requests_are_refused_as_values(name: str) -> None:
    quoted = '"' + name.encode("unicode_escape").decode() + '"'
    assert "cannot be used as a name" in refusal(f"name={quoted}")


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "_x", "9", "x" * 64])
def test_safe_names(name: str) -> None:
    assert accept(f"name='{name}'").name == name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "tasks.ctr.loss_weight=-1",
            "tasks.ctr.loss_weight: input should be greater than or equal to 0, received -1",
        ),
        (
            (
                "tasks={ctr: {label: c, loss_weight: 0}, cvr: {label: o, space: c, loss_weight: 0},"
                " ctcvr: {label: o, loss_weight: 0}}"
            ),
            "tasks: every loss_weight is 0",
        ),
        (
            "splits.test.end=2024-01-04",
            (
                "splits.test: start 2024-01-04T00:00:00+00:00 is not before end"
                " 2024-01-04T00:00:00+00:00"
            ),
        ),
        ("splits.test.end=2024-01-03", "splits.test: start"),
        (
            "routing.compose=0",
            "routing.compose: input should be greater than 0, received 0",
        ),
        (
            "routing.compose=1.5",
            "routing.compose: input should be less than or equal to 1, received 1.5",
        ),
        ("splits={}", "splits: dictionary should have at least 1 item"),
        (
            "pretrain.split=train",
            (
                "pretrain.split: 'train' is no split; the config has: pretrain, finetune,"
                " validation, test"
            ),
        ),
        ("pretrain.validation=val", "pretrain.validation: 'val' is no split"),
        ("finetune.split=train", "finetune.split: 'train' is no split"),
        ("finetune.validation=val", "finetune.validation: 'val' is no split"),
        ("evaluation.split=tests", "evaluation.split: 'tests' is no split"),
        (
            "evaluation.segments=[scent]",
            (
                "evaluation.segments: no feature, topic or data.topic_columns reads column 'scent';"
                " did you mean 'scene'?"
            ),
        ),
        (
            "evaluation.segments=[history]",
            "evaluation.segments: column 'history' is read as list; expected one of text or of",
        ),
        (
            "evaluation.segments=[time]",
            "evaluation.segments: column 'time' is read as timestamp; expected one of text or of",
        ),
        (
            "evaluation.segments=[scene, price, scene]",
            "evaluation.segments: 'scene' is named twice",
        ),
        (
            "evaluation.segments=[click]",
            "evaluation.segments: no feature, topic or data.topic_columns reads column 'click'",
        ),
        ("evaluation.minimum_positives=-1", "evaluation.minimum_positives: "),
        ("features={}", "features: dictionary should have at least 1 item"),
        (
            "features.click={kind: categorical, side: user}",
            "features.click: column 'click' is a label; a label cannot be a feature",
        ),
        (
            "features.x={kind: numeric, side: user, column: order}",
            "features.x: column 'order' is a label",
        ),
        ("features.x={kind: text, side: user}", "features.x: input tag 'text'"),
        ("features.x={side: user}", "features.x: "),
        ("features.x.kind=numeric", "features.x.side: field required"),
        ("features.x.bins=3", "features.x: no 'kind'; expected one of "),
        (
            "features.history.shares=nothing",
            "features.history.shares: 'nothing' is no categorical feature of this config",
        ),
        (
            "features.history.shares=tags",
            "features.history.shares: 'tags' is no categorical feature",
        ),
        (
            "features.history.shares=history",
            "features.history.shares: 'history' is no categorical feature",
        ),
        (
            "features.history.shares=price",
            "features.history.shares: 'price' is no categorical feature",
        ),
        (
            "features.history.vocabulary={}",
            "features.history: 'shares' takes ids and table from another feature",
        ),
        (
            "features.history.hash_buckets=5",
            "features.history: 'shares' takes ids and table from another feature",
        ),
        (
            "features.history.dimension=5",
            "features.history: 'shares' takes ids and table from another feature",
        ),
        ("features.tags.attention=true", "features.tags: 'attention' needs 'shares'"),
        ("features.tags.max_length=1001", "features.tags.max_length: "),
        (
            "features.item.vocabulary={}",
            "features.item: both 'vocabulary' and 'hash_buckets' are given",
        ),
        ("features.user.id_dropout=1", "features.user.id_dropout: "),
        ("features.x={kind: numeric, side: item, column: item}", "features.x: column 'item' is "),
        ("features.x={kind: list, side: item, column: item}", "features.x: column 'item' is "),
        (
            "features.x={kind: categorical, side: item, column: time}",
            "features.x: column 'time' is ",
        ),
        ("features.price.quantile_buckets=1", "features.price.quantile_buckets: "),
        (
            "features.moment.column=when",
            "features.moment: timestamp features read data.timestamp 'time', received 'when'",
        ),
        ("features.moment.parts=[minute]", "features.moment.parts.0: "),
        (
            "backbone.debias.feature=nothing",
            "backbone.debias.feature: 'nothing' is no categorical or numeric feature",
        ),
        (
            "backbone.debias.feature=history",
            "backbone.debias.feature: 'history' is no categorical or numeric feature",
        ),
        (
            "backbone.debias.feature=moment",
            "backbone.debias.feature: 'moment' is no categorical or numeric feature",
        ),
        ("backbone.expert_layers=[]", "backbone.expert_layers: "),
        ("backbone.tower_layers=[]", "backbone.tower_layers: "),
        (
            "topics.scene.hours={a: 00-11}",
            "topics.scene: expected exactly one of values, hours, ranges, contains; received",
        ),
        (
            "topics.scene.values=[]",
            "topics.scene: expected exactly one of values, hours, ranges, contains; received none",
        ),
        (
            "topics.scene.values=[home, search, home]",
            "topics.scene: 'values' repeats itself: home, search, home",
        ),
        (
            "topics.scene.column=order",
            "topics.scene.column: 'order' is a label; a domain must be known before the click",
        ),
        (
            "topics.period.column=opened",
            "topics.period.column: hour ranges read data.timestamp 'time', received 'opened'",
        ),
        (
            "cross_topics=[[scene, place]]",
            "cross_topics: 'place' is no topic; the config has: scene, period",
        ),
        ("cross_topics=[[scene, scene]]", "cross_topics: 'scene' is crossed with itself"),
        ("cross_topics=[[scene]]", "cross_topics.0.1: field required"),
        ("cross_topics=[[scene, period, scene]]", "cross_topics.0: "),
        ("data.batch_rows=2000000", "data.batch_rows: "),
        ("data.max_conversion_without_click=1.5", "data.max_conversion_without_click: "),
        ("finetune.rate_power=1.1", "finetune.rate_power: "),
        ("finetune.beta=.inf", "finetune.beta: input should be a finite number"),
        ("finetune.regulariser=l2", "finetune.regulariser: "),
        (
            "simulation.shops=79",
            "simulation: 4 regions of 10 candidates need 80 shops, received shops: 79",
        ),
        ("simulation.click_rate=0.9", "simulation: a shop is examined in"),
    ],
)
def test_what_must_hold_in_and_between_sections(override: str, said: str) -> None:
    assert refusal(override).startswith(f"config: {said}")


@pytest.mark.parametrize(
    "override",
    [
        "topics.scene.column=price",
        "topics.scene.column=history",
        "topics.scene.column=time",
        "topics.scene.column=weight",
        "data.weight=user",
        "data.weight=click",
        "data.weight=time",
        "data.user=history",
        "data.request=tags",
        "data.row_key=[tags]",
        "evaluation.truth.key=history",
        "features.x={kind: categorical, side: user, column: weight}",
        "features.x={kind: categorical, side: user, column: domain}",
        "features.x={kind: categorical, side: user, column: self}",
        "features.x={kind: categorical, side: user, column: Item ID}",
        "features.x={kind: categorical, side: user, column: item-id}",
        "features.x={kind: categorical, side: user, column: item.id}",
        "features.x={kind: categorical, side: user, column: é}",
        "features.x={kind: categorical, side: user, column: 2nd}",
        "features.x-y={kind: categorical, side: user}",
        "topics.scene.column=my scene",
        "features.moment_hour={kind: categorical, side: user}",
        "cross_topics=[[scene, period], [period, scene]]",
        "cross_topics=[[scene, period], [scene, period]]",
    ],
)
def test_what_would_break_the_steps_after_it(override: str) -> None:
    refusal(override)


def test_results_may_be_cut_by_what_features_topics_memory_and_the_list_of_columns_read() -> None:
    columns = ("scene", "price", "shelf", "till")
    wanted = f"evaluation.segments=[{', '.join(columns)}]"
    more = ("data.topic_columns=[shelf]", "memory={keys: {till: [till]}}", wanted)
    assert accept(*more).evaluation.segments == columns


def test_one_column_may_feed_features_of_one_kind_and_a_topic() -> None:
    experiment = accept(
        "features.again={kind: categorical, side: item, column: user}", "topics.scene.column=user"
    )
    assert experiment.column_of("again") == "user"
    assert experiment.column_of("price") == "price"


@pytest.mark.parametrize("feature", ["position", "price"])
def test_debias_on_a_category_or_a_number(feature: str) -> None:
    assert accept(f"backbone.debias.feature={feature}").backbone.debias.feature == feature


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTC", UTC),
        ("UTC-03:00", timezone(-timedelta(hours=3))),
        ("UTC+05:45", timezone(timedelta(hours=5, minutes=45))),
        ("America/Sao_Paulo", ZoneInfo("America/Sao_Paulo")),
    ],
)
def test_time_zones(name: str, expected: object) -> None:
    assert parse_time_zone(name) == expected
    assert accept(f"features.moment.time_zone={name}").features["moment"].time_zone == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Base",
        "UTC+3",
        "UTC-3:00",
        "utc-03:00",
        "../../etc/passwd",
        "/etc/localtime",
        "America",
        "a\0b",
    ],
)
@pytest.mark.parametrize("path", ["features.moment", "topics.period", "simulation"])
def test_unknown_time_zones(path: str, name: str) -> None:
    quoted = '"' + name.replace("\0", "\\0") + '"'
    message = refusal(f"{path}.time_zone={quoted}")
    assert message.startswith(
        f"config: {path}.time_zone: unknown time zone '{name}'; expected UTC, UTC-03:00 or an IANA"
        " name"
    )


@pytest.mark.parametrize("name", ["UTC+24:00", "UTC-99:99", "UTC+03:75"])
def test_offsets_that_no_clock_shows(name: str) -> None:
    assert f"unknown time zone '{name}'" in refusal(f"topics.period.time_zone={name}")


def test_moments_without_a_zone_are_utc_and_others_are_turned_into_it() -> None:
    splits = accept(
        "splits.test={start: 2024-01-04T12:00:00, end: '2024-01-05T12:00:00-03:00'}"
    ).splits
    assert splits["test"].start == datetime(2024, 1, 4, 12, tzinfo=UTC)
    assert splits["test"].end == datetime(2024, 1, 5, 15, tzinfo=UTC)
    assert splits["test"].end.utcoffset() == timedelta(0)


def test_a_moment_at_the_end_of_time_is_refused() -> None:
    assert "splits.test.end: " in refusal("splits.test.end='9999-12-31T23:59:59-10:00'")


def test_domains_are_all_then_single_topic_then_cross_topic() -> None:
    assert accept().domains == (
        Domain(ALL),
        Domain("scene=home", (("scene", 1),)),
        Domain("scene=search", (("scene", 2),)),
        Domain("period=early", (("period", 1),)),
        Domain("period=late", (("period", 2),)),
        Domain("scene=home,period=early", (("scene", 1), ("period", 1))),
        Domain("scene=home,period=late", (("scene", 1), ("period", 2))),
        Domain("scene=search,period=early", (("scene", 2), ("period", 1))),
        Domain("scene=search,period=late", (("scene", 2), ("period", 2))),
    )


def test_without_topics_there_is_the_domain_of_all_traffic() -> None:
    assert accept("topics={}", "cross_topics=[]").domains == (Domain("all"),)


@pytest.mark.parametrize(
    "override",
    [
        "data.request=session",
        "data.weight=~",
        "data.row_key=[request]",
        "data.max_conversion_without_click=0.1",
        "data.batch_rows=10",
        "splits.test.end=2024-01-06",
        "splits.later={start: 2024-01-06, end: 2024-01-07}",
        "features.user.vocabulary.min_count=3",
        "features.user.oov_buckets=2",
        "features.history.max_length=5",
        "features.price.log1p=true",
        "features.price.column=cost",
        "features.moment.time_zone=UTC-03:00",
        "features.new={kind: numeric, side: item}",
        "evaluation.truth.key=request",
        "evaluation.truth=~",
    ],
)
def test_the_data_digest_changes_with_what_preprocessing_writes(override: str) -> None:
    assert accept(override).data_digest != accept().data_digest


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "seed=1",
        "data.input=elsewhere/*.csv",
        "tasks.cvr.loss_weight=0",
        "features.user.side=context",
        "features.user.dimension=4",
        "features.user.id_dropout=0.5",
        "features.history.attention=false",
        "topics.scene.values=[search, home]",
        "topics.period.time_zone=UTC-03:00",
        "data.topic_columns=[shelf]",
        "backbone.experts=2",
        "pretrain.epochs=9",
        "kernel.width=9",
        "finetune.beta=2",
        "evaluation.bootstrap=7",
        "evaluation.minimum_positives=0",
        "evaluation.segments=[scene]",
        "evaluation.truth.path=other/*.parquet",
        "simulation.rows=5",
        "simulation=~",
    ],
)
def test_the_data_digest_stays_with_what_training_and_readers_alone_need(override: str) -> None:
    assert accept(override).data_digest == accept().data_digest


def test_the_data_digest_does_not_depend_on_how_the_file_is_written() -> None:
    reordered = "\n".join(["# a comment", "seed: 17", *CONFIG.splitlines()]).replace(
        "2024-01-01,", "2024-01-01T00:00:00Z,"
    )
    assert accept(text=reordered).data_digest == accept().data_digest


def test_the_order_of_features_is_part_of_the_digest_and_that_of_topics_is_not() -> None:
    first = accept()
    for section in ("topics", "features"):
        values = first.model_dump(mode="json")
        values[section] = dict(reversed(values[section].items()))
        changed = Experiment.model_validate(values).data_digest != first.data_digest
        assert changed == (section == "features")


@pytest.mark.parametrize(
    "override",
    [
        "splits.pretrain.end=2024-01-05",
        "splits.finetune.end=2024-01-04T00:00:01Z",
        "pretrain.validation=pretrain",
        "evaluation.split=finetune",
    ],
)
def test_rows_that_judge_a_model_cannot_train_it(override: str) -> None:
    assert "rows that judge a model must not train it" in refusal(override)


def test_hashed_ids_cannot_be_dropped_onto_an_id_of_their_own() -> None:
    assert "hashed ids have no out-of-vocabulary ids" in refusal("features.item.id_dropout=0.1")


def test_a_list_cannot_drop_onto_another_feature_s_hashed_ids() -> None:
    said = refusal("features.history.id_dropout=0.1")
    assert "features.history.id_dropout: 'item' hashes its values" in said


@pytest.mark.parametrize("column", ["class", "None", "Domain", "examples", "self", "my shelf", "0"])
def test_what_cannot_name_an_input_is_refused(column: str) -> None:
    said = refusal(f"features.x={{kind: numeric, side: user, column: '{column}'}}")
    assert f"features.x: column '{column}' cannot name an input of the served model" in said


@pytest.mark.parametrize(
    "override",
    [
        "features.other={kind: categorical, side: user, column: Scene, hash_buckets: 9}",
        "topics.town={column: SCENE, values: [a]}",
        "data.topic_columns=[sCENE]",
    ],
)
def test_columns_of_a_request_differ_by_more_than_capitals(override: str) -> None:
    assert "cannot both name inputs of the served model" in refusal(override)


def test_an_override_leaves_what_shares_its_alias_alone() -> None:
    user = "user: {kind: categorical, side: user, vocabulary: {min_count: 2}}"
    text = CONFIG.replace(user, "user: &user {kind: categorical, side: user}")
    experiment = accept(
        "features.position.oov_buckets=5",
        text=text.replace("{kind: categorical, side: context, vocabulary: {}}", "*user"),
    )
    assert (
        experiment.features["user"].oov_buckets,
        experiment.features["position"].oov_buckets,
    ) == (
        1,
        5,
    )  # type: ignore[union-attr]


def unbounded(schema: Any, where: str = "") -> Iterator[str]:
    """Where a JSON schema takes a number without an upper bound."""
    if isinstance(schema, dict):
        number = schema.get("type") in ("integer", "number")
        if number and not {"maximum", "exclusiveMaximum"} & schema.keys():
            yield where
        for name, below in schema.items():
            yield from unbounded(below, f"{where}/{name}")
    elif isinstance(schema, list):
        for below in schema:
            yield from unbounded(below, where)


def test_every_number_has_an_upper_bound() -> None:
    """But for a topic's ranges, which are numbers of the logs."""
    found = set(unbounded(Experiment.model_json_schema()))
    assert {where for where in found if not where.startswith("/$defs/Topic/")} == set()


@pytest.mark.parametrize(
    "setting",
    [
        "seed",
        "pretrain.batch_size",
        "finetune.batch_size",
        "backbone.embedding_dimension",
        "features.item.hash_buckets",
        "tasks.ctr.loss_weight",
        "finetune.beta",
    ],
)
@pytest.mark.parametrize("value", ["1" + "0" * 30, "3.4e38", "-1"])
def test_a_number_beyond_its_bound_is_refused(setting: str, value: str) -> None:
    assert setting in refusal(f"{setting}={value}")
