"""Kernels that answer a row together under ``auto``: the rule word by word in NumPy, and the same
offline and in the bank.
"""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs.domains import Domain, Topic, enumerate_domains
from tests.trainer.conftest import SHAPE, random_kernel, random_rows
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels import bank as bank_module
from trainer.kernels.bank import KernelBank
from trainer.kernels.composed_bank import ComposedBank
from trainer.kernels.gate import BUCKETS, GATE, SUPPORT
from trainer.kernels.kernel import KernelShape, KernelWeights, Rows
from trainer.kernels.routing import auto_rank, composed_ranks, most_specific_first, parts_of
from trainer.kernels.scoring import auto_logits, route, score_rows

TOPICS = {name: Topic(column=name, values=("v1", "v2")) for name in ("scene", "period", "region")}
EVERY = enumerate_domains(TOPICS, (("region", "scene"), ("scene", "period")))
NAMED = {domain.name: domain for domain in EVERY}
USERS = 7
GATED = KernelShape((5, 4, 1), "relu", residual=True, tap="tower", user="user_id", support=USERS)
ACTIVE = pytest.mark.parametrize(
    "active",
    [
        ["all", "scene=v1", "period=v1", "region=v1", "region=v2", "region=v1,scene=v1"],
        ["scene=v1", "scene=v2", "period=v2", "scene=v1,period=v2"],  # nothing of all traffic
        ["all"],
        ["all", "region=v2,scene=v2"],
        ["period=v1", "period=v2"],
        [],
    ],
    ids=lambda names: "+".join(names) or "none",
)
SHAPES = pytest.mark.parametrize("shape", [SHAPE, GATED], ids=["plain", "gated"])
Floats = npt.NDArray[np.float32]


def kernels_of(active: list[str], shape: KernelShape) -> dict[str, KernelWeights]:
    found = {name: dict(random_kernel(shape, seed)) for seed, name in enumerate(active)}
    for seed, kernel in enumerate(found.values() if shape.support else ()):
        random = np.random.default_rng(seed)
        kernel[GATE] = random.uniform(0, 1, (2, BUCKETS)).astype(np.float32)
        kernel[SUPPORT] = random.integers(0, BUCKETS, USERS).astype(np.uint8)
    return found


def rows_of(count: int) -> BackboneOutputs:
    """Rows of every value of every topic, of none too."""
    rows = random_rows(count)
    rows.columns["feature/user_id"] = np.arange(count, dtype=np.int32) % USERS
    return rows


def plain(
    rows: BackboneOutputs, kernels: dict[str, KernelWeights], shape: KernelShape, share: float
) -> Floats:
    """The rule of ``routing.composed_ranks``, row by row."""
    every = np.arange(len(rows.logits))
    under = {name: score_rows(shape, kernel, rows, every) for name, kernel in kernels.items()}
    expected = rows.logits.copy()
    for row in every:
        matched = [
            name
            for name in under
            if all(rows.columns[f"topic/{t}"][row] == index for t, index in NAMED[name].conditions)
        ]
        crosses = [d for d in most_specific_first(map(NAMED.get, matched), TOPICS) if "," in d.name]
        if crosses:
            expected[row] = under[crosses[0].name][row]
            continue
        start = under["all"][row] if "all" in matched else rows.logits[row]
        changes = [under[name][row] - start for name in matched if name != "all"]
        expected[row] = start + (share if len(changes) > 1 else 1.0) * sum(changes)
    return expected


def slots_of(rows: BackboneOutputs, active: list[str]) -> tuple[list[str], Floats]:
    """Names by slot, and the slots of every row, as a served graph finds them: among all domains,
    of which a table says who has a kernel.
    """
    domains = most_specific_first(EVERY, TOPICS)
    names = ["backbone", *active]
    slot_of = tf.constant([0, *(names.index(d.name) if d.name in active else 0 for d in domains)])
    topics = {name: tf.constant(rows.columns[f"topic/{name}"]) for name in TOPICS}
    own = auto_rank(topics, domains, len(rows.logits), slot_of)
    ranks = composed_ranks(own, topics, domains, len(rows.logits), slot_of)
    return names, tf.gather(slot_of, ranks).numpy()


def composed_bank(
    active: list[str], kernels: dict[str, KernelWeights], shape: KernelShape, share: float
) -> ComposedBank:
    bank = ComposedBank(1 + len(active), shape, share, parts_of(EVERY))
    for slot, name in enumerate(active, 1):
        bank.put(slot, kernels[name])
    return bank


@SHAPES
@ACTIVE
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_offline_and_in_the_bank_is_the_rule(
    active: list[str], shape: KernelShape, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, kernels = rows_of(120), kernels_of(active, shape)
    expected = plain(rows, kernels, shape, share)
    scores = {
        name: score_rows(shape, kernel, rows, rows.domain_rows(NAMED[name]))
        for name, kernel in kernels.items()
    }
    offline = route(EVERY, TOPICS, rows, scores, rows.logits, share)
    np.testing.assert_allclose(offline, expected, rtol=1e-5, atol=1e-5)

    _, slots = slots_of(rows, active)
    bank = composed_bank(active, kernels, shape, share)
    users = (rows.columns["feature/user_id"],) if shape.support else ()
    for part in (512, 50):
        monkeypatch.setattr(bank_module, "_GATHERED_ROWS", part)
        served = bank(rows.taps, rows.logits, slots, *users)
        np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-5)
    # pages: rows of the same domains, one page after another
    for page in np.unique(slots, axis=0):
        of = np.flatnonzero((slots == page).all(axis=1))
        ids = [columns[of] for columns in users]
        served = bank(rows.taps[of], rows.logits[of], slots[of], *ids)
        np.testing.assert_allclose(served, expected[of], rtol=1e-5, atol=1e-5)
    assert bank(rows.taps[:0], rows.logits[:0], slots[:0], *(u[:0] for u in users)).shape == (0, 2)


def test_pages_gather_no_slice_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a topic is the item's, and only some rows have a domain of it."""
    active = ["all", "scene=v1", "period=v1", "region=v1"]
    bank = composed_bank(active, kernels_of(active, SHAPE), SHAPE, 0.5)
    mixed: list[int] = []
    called = KernelBank._mixed

    def noticed(self: KernelBank, taps: object, logits: object, slots: object) -> object:
        mixed.append(len(np.asarray(slots)))
        return called(self, taps, logits, slots)

    monkeypatch.setattr(KernelBank, "_mixed", noticed)
    rows = random_rows(40)
    slots = np.tile(np.array([1, 2, 3, 0], np.int32), (40, 1))
    bank(rows.taps, rows.logits, slots)
    slots[::2, 3] = 4
    bank(rows.taps, rows.logits, slots)
    assert not mixed
    slots[::2, 2] = 2
    bank(rows.taps, rows.logits, slots)
    assert mixed == [40]


def test_a_row_answered_alone_is_bit_by_bit_as_without_composition() -> None:
    active = ["all", "scene=v1", "region=v1,scene=v1"]
    rows, kernels = random_rows(60), kernels_of(active, SHAPE)
    bank, before = composed_bank(active, kernels, SHAPE, 0.5), KernelBank(4, SHAPE)
    for slot, name in enumerate(active, 1):
        before.put(slot, kernels[name])
    own = np.arange(60, dtype=np.int32) % 4
    for slots in (own, np.full(60, 3, np.int32), np.zeros(60, np.int32)):
        alone = np.pad(slots[:, np.newaxis], [(0, 0), (0, 3)])
        np.testing.assert_array_equal(
            bank(rows.taps, rows.logits, alone), before(rows.taps, rows.logits, slots)
        )


@ACTIVE
def test_off_is_the_most_specific_kernel_alone(active: list[str]) -> None:
    rows, kernels = rows_of(90), kernels_of(active, SHAPE)
    asked: list[str] = []

    def score(domain: Domain, chosen: Rows) -> Floats:
        asked.extend([domain.name] * len(chosen))
        return score_rows(SHAPE, kernels[domain.name], rows, chosen)

    domains = [NAMED[name] for name in active]
    names, logits = auto_logits(domains, TOPICS, rows, score, rows.logits)
    assert sorted(asked) == sorted(name for name in names if name != "backbone")  # each once
    for row, name in enumerate(names):
        expected = (
            rows.logits[[row]]
            if name == "backbone"
            else score_rows(SHAPE, kernels[name], rows, np.array([row]))
        )
        np.testing.assert_allclose(logits[[row]], expected, rtol=1e-5, atol=1e-5)
    composed_names, _ = auto_logits(domains, TOPICS, rows, score, rows.logits, 0.5)
    assert composed_names == names  # what is said to serve a row does not change


def test_a_row_starts_from_all_and_adds_one_domain_of_each_topic() -> None:
    """But for one of no other topic's, which answers alone."""
    active = ["all", "scene=v1", "period=v2", "region=v1", "region=v2", "region=v1,scene=v1"]
    rows = BackboneOutputs(
        np.zeros((27, 2), np.float32),
        np.zeros((27, 1, 5), np.float32),
        {
            f"topic/{name}": np.array(values, np.int32)
            for name, values in zip(TOPICS, np.indices((3, 3, 3)).reshape(3, -1), strict=True)
        },
    )
    names, slots = slots_of(rows, active)
    for row, found in enumerate(slots):
        scene, period, region = (rows.columns[f"topic/{name}"][row] for name in TOPICS)
        first, *parts = (names[slot] for slot in found)
        matched = [
            name
            for name, is_of in {
                "scene=v1": scene == 1,
                "period=v2": period == 2,
                f"region=v{region}": region > 0,
            }.items()
            if is_of
        ]
        if (region, scene) == (1, 1):
            matched = ["region=v1,scene=v1"]
        if len(matched) == 1:  # one that can answer alone
            assert [first, *parts] == [*matched, *["backbone"] * 3]
            continue
        assert first == "all"
        assert sorted(p for p in parts if p != "backbone") == sorted(matched)
