"""The history of a registry: every change of what is served is told once, by whoever made it; what
was not told is found; and rolling back goes the way back.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import InputError
from configs.files import append_lines
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, random_kernel
from trainer.registry.decision import Decision
from trainer.registry.history import History, Origin, happened, render_history
from trainer.registry.kernel_registry import KernelStore

R1 = "region=r1"
WINDOWS = {
    "train": ("2025-03-01T00:00:00+00:00", "2025-03-06T00:00:00+00:00"),
    "validation": ("2025-03-06T00:00:00+00:00", "2025-03-07T00:00:00+00:00"),
}


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    """Three versions of two domains, none served."""
    store = KernelStore(bare_job(tmp_path))
    for name in ("all", R1):
        for seed in (1, 2, 3):
            content = {**MANIFEST, "judges": f"run {seed}", "windows": WINDOWS}
            store.add(name, random_kernel(SHAPE, seed), content)
    return store


def told(store: KernelStore, domain: str) -> list[tuple[str, int | None, int | None]]:
    return [(one.action, one.version, one.before) for one in store.history.events(domain)]


def test_every_change_is_told_once(store: KernelStore) -> None:
    store.activate(R1, 1)
    store.activate(R1, 1)
    store.activate(R1, 3)
    store.pin(R1)
    store.unpin(R1)
    store.deactivate(R1)
    store.activate("all", 2)
    store.remove(R1)
    assert told(store, R1) == [
        ("activate", 1, None),
        ("activate", 3, 1),
        ("pin", 3, 3),
        ("unpin", 3, 3),
        ("deactivate", None, 3),
        ("remove", None, None),
    ]
    first = store.history.events(R1)[0]
    assert (first.run, first.windows, first.data) == ("run 1", WINDOWS, None)
    assert "@" in first.by
    assert store.history.served() == store.active() == {"all": 2}
    assert len(render_history(store.history.events())) == 8


def test_what_fine_tuning_decides_is_told_with_its_reason_and_its_data(store: KernelStore) -> None:
    store.activate("all", 1)
    decisions = {
        R1: Decision(outcome="activate", reason="better", against="all", version=3, active=3),
        "all": Decision(outcome="deactivate", reason="worse", against="backbone"),
    }
    store.decide(decisions, store.active(), Origin("this run", "data/today"))
    store.decide(decisions, store.active(), Origin("this run", "data/today"))
    (event,) = store.history.events(R1)
    assert (event.action, event.reason, event.run) == ("activate", "better", "run 3")
    assert event.data == "data/today"
    event = store.history.events("all")[-1]
    assert (event.action, event.version, event.run) == ("deactivate", None, "this run")


def test_a_half_line_is_left_out_and_the_next_begins_on_its_own(store: KernelStore) -> None:
    store.activate(R1, 1)
    whole = store.job.history.read_bytes()
    store.job.history.write_bytes(whole + whole[: len(whole) // 2])
    assert told(store, R1) == [("activate", 1, None)]
    store.activate(R1, 2)
    assert told(store, R1) == [("activate", 1, None), ("activate", 2, 1)]
    assert store.job.history.read_bytes().startswith(whole)


def test_what_nobody_has_told_is_found_by_the_next_writer(store: KernelStore) -> None:
    """A writer that is killed right before it tells, and a job that is older than histories."""
    store.activate(R1, 1)
    store.activate("all", 3)
    store.job.history.unlink()
    assert store.history.events() == []
    store.activate(R1, 2)
    assert told(store, "all") == [("found", 3, None)]
    assert told(store, R1) == [("found", 1, None), ("activate", 2, 1)]


def test_a_history_that_cannot_be_written_stops_nothing(
    store: KernelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.job.history.mkdir()
    with pytest.raises(InputError, match=r"history\.jsonl: cannot be read"):
        store.history.events()
    store.history.add([happened(R1, "pin", None, None)])
    assert "what was changed could not be written down" in capsys.readouterr().err


def test_rolling_back_goes_to_what_was_served_before_and_on_from_there(store: KernelStore) -> None:
    for version in (3, 1, 2):
        store.activate(R1, version)
    assert [store.rollback(R1), store.rollback(R1)] == [1, 3]
    assert [action for action, *_ in told(store, R1)] == ["activate"] * 3 + ["rollback"] * 2
    with pytest.raises(InputError, match="nothing is known to have been served"):
        store.rollback(R1)


def test_what_was_switched_off_comes_back_and_what_came_after_nothing_has_no_way_back(
    store: KernelStore,
) -> None:
    store.activate(R1, 2)
    store.deactivate(R1)
    assert store.rollback(R1) == 2
    store.deactivate(R1)
    store.activate(R1, 3)
    with pytest.raises(InputError, match="nothing of domain 'region=r1' was served before"):
        store.rollback(R1)


@settings(max_examples=60)
@given(steps=st.lists(st.one_of(st.integers(1, 4), st.none(), st.just("back")), max_size=12))
def test_the_way_back_is_that_of_a_stack(
    steps: list[int | str | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rolling back undoes what was activated or deactivated last."""
    history = History(tmp_path_factory.mktemp("history") / "history.jsonl")
    served: int | None = None
    stack: list[int | None] = []
    for step in steps:
        if step == "back":
            older = history.before(R1, served)
            if not older or older[0] is None:
                continue
            history.add([happened(R1, "rollback", older[0], served)])
            stack.pop()
            assert older[0] == stack[-1]
            served = older[0]
        elif isinstance(step, int):
            if step == served:
                continue
            history.add([happened(R1, "activate", step, served)])
            if not stack or stack[-1] != step:
                stack.append(step)
            served = step
        elif served is not None:
            history.add([happened(R1, "deactivate", None, served)])
            stack.append(None)
            served = None
    assert history.served() == ({} if served is None else {R1: served})


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines.jsonl"
    append_lines(path, ["a", "b"])
    append_lines(path, [])
    append_lines(path, ["c"])
    assert path.read_text() == "a\nb\nc\n"
