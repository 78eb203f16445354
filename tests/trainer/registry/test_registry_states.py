"""Whatever is done to a registry, in whatever order: what is served exists, what is pinned stays as
it is, and after a run of fine-tuning everything that is served fits into one bank.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from configs import InputError
from configs.domain_definitions import definition_of
from configs.files import write_json
from tests.tasks import RANKING
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, domains_of, variant
from tests.trainer.tapped_rows import tapped_kernel, tapped_rows
from trainer.kernels.kernel import KernelShape
from trainer.registry.golden_scores import GoldenRows
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.overview import overview, overview_json, render_overview
from trainer.training.judging_users import with_judges
from trainer.training.outcome import render_outcomes
from trainer.training.release import Released, Trained, check_shapes, release

EXPERIMENT = variant("evaluation.bootstrap=20")
ROWS = tapped_rows(800, 200)
SHAPES = (SHAPE, KernelShape((5, 3, 1), "relu", residual=True, tap="tower"))
NAMES = ("all", "scene=home", "region=r1", "region=r1,scene=home")
ONE_NAME = st.sampled_from(NAMES)
TRAINED = st.one_of(
    st.none(),  # no better than where it started
    st.tuples(st.sampled_from([-2.0, 0.5, 2.0]), st.integers(0, 3)),
)


class _NoGolden:
    def scores_for(self, *_: Any) -> None:
        return None


class Registry(RuleBasedStateMachine):
    """Runs of fine-tuning, less the training, and commands by hand."""

    @initialize()
    def empty(self) -> None:
        self.folder = TemporaryDirectory()
        job = bare_job(Path(self.folder.name))
        write_json(job.backbone / "experiment.json", EXPERIMENT.model_dump(mode="json"))
        self.store = KernelStore(job)

    @rule(
        kernels=st.dictionaries(ONE_NAME, TRAINED, min_size=1),
        shape=st.sampled_from(SHAPES),
        key=st.sampled_from(["0" * 64, "a" * 64]),
    )
    def tune(
        self, kernels: dict[str, tuple[float, int] | None], shape: KernelShape, key: str
    ) -> None:
        before, pinned = self.store.active(), self.store.pinned()
        tuned = [name for name in kernels if name not in pinned]
        trained = [self._trained(name, kernels[name], shape) for name in tuned]
        rows = with_judges(ROWS, key)
        golden = cast(GoldenRows, _NoGolden())
        try:
            check_shapes(self.store, shape, set(tuned), pinned)
        except InputError as error:
            assert "\n" not in str(error)
            assert self.store.active() == before
            return
        outcomes = release(Released(EXPERIMENT, self.store, shape, rows, key, golden), trained)
        assert [outcome.domain for outcome in outcomes] == tuned
        assert render_outcomes(outcomes, RANKING)
        active = self.store.active()
        for name in {*before, *active} - set(tuned):
            assert active.get(name) == before.get(name), "not tuned, or pinned: left alone"
        for outcome in outcomes:
            decision, name = outcome.decision, outcome.domain
            assert decision
            assert decision == self.store.decisions()[name]
            assert decision.active == active.get(name)
            assert decision.version is None or decision.version in self.store.versions(name)
            if decision.outcome == "activate":
                assert decision.active == decision.version
            elif decision.outcome == "keep":
                assert decision.active == before.get(name)
            else:
                assert name in before
                assert name not in active
        assert {self.store.load(*item).shape for item in active.items()} <= {shape}

    def _trained(self, name: str, kernel: tuple[float, int] | None, shape: KernelShape) -> Trained:
        (domain,) = domains_of(EXPERIMENT, name)
        weights = kernel and tapped_kernel(shape, *kernel)
        return Trained(domain, definition_of(domain, EXPERIMENT.topics), 10, weights, "all")

    @rule(name=ONE_NAME, strength=st.sampled_from([-2.0, 2.0]), shape=st.sampled_from(SHAPES))
    def add(self, name: str, strength: float, shape: KernelShape) -> None:
        """A version of an older job: it has no definition and no decision."""
        content = MANIFEST | {"shape": shape.to_json()}
        self.store.add(name, tapped_kernel(shape, strength), content)

    @rule(name=ONE_NAME, action=st.sampled_from(["pin", "unpin", "rollback", "deactivate"]))
    def command(self, name: str, action: str) -> None:
        self._by_hand(name, action)

    @rule(name=ONE_NAME, version=st.integers(1, 4))
    def activate(self, name: str, version: int) -> None:
        self._by_hand(name, "activate", version)

    @rule(name=ONE_NAME)
    def remove(self, name: str) -> None:
        self._by_hand(name, "remove")

    def _by_hand(self, name: str, action: str, *arguments: int) -> None:
        active, pinned = self.store.active(), self.store.pinned()
        try:
            getattr(self.store, action)(name, *arguments)
        except InputError as error:
            assert "\n" not in str(error)
            assert (self.store.active(), self.store.pinned()) == (active, pinned)
            return
        others = [
            {n: v for n, v in found.items() if n != name} for found in (active, self.store.active())
        ]
        assert others[0] == others[1]
        assert self.store.pinned() - {name} == pinned - {name}
        assert (name in self.store.pinned()) == {
            "pin": True,
            "rollback": True,
            "unpin": False,
            "remove": False,
        }.get(action, name in pinned)

    @rule(name=ONE_NAME)
    def damage(self, name: str) -> None:
        """Of what is served alone: a version that is not is never read."""
        version = self.store.active().get(name)
        if version is not None:
            (self.store.folder / name / str(version) / "weights.npz").write_bytes(b"half")

    @invariant()
    def what_is_served_exists(self) -> None:
        if not hasattr(self, "store"):
            return
        for name, version in self.store.active().items():
            assert version in self.store.versions(name)
        lines = overview(self.store)
        assert render_overview(lines, RANKING)
        assert {line["domain"] for line in overview_json(lines, RANKING)} >= self.store.pinned()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=15, stateful_step_count=12)
