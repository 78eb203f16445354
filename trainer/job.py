"""The job directory: where everything a training run leaves is, and how it gets there whole."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs import Experiment, InputError
from configs.digests.listed_files import Listed, check_files, sha256_of
from configs.digests.sealed_json import read_sealed, write_sealed
from configs.domains import ALL
from configs.files import read_object
from configs.schema import Split
from configs.training import Routing
from preprocessing.dataset.manifest import GOLDEN_FILE, PROFILE_FILE

if TYPE_CHECKING:
    from preprocessing.features.fitted import Fitted


_FINGERPRINT, _EXPERIMENT = "fingerprint.json", "experiment.json"
TEACHER = "teacher.json"
"""Beside the backbone: who taught it; not there where nobody did."""
ANCESTOR = "ancestor.json"
"""Beside the backbone: which one it went on from; not there where it began anew."""
ANCESTOR_KERNELS = "ancestor_kernels.npz"
"""Beside it: that one's active kernels, from which this one's start."""
COMPOSE = "compose"
"""In what is written of a job: ``configs.training.Routing.compose``, where it is on."""
_TAUGHT_BY = ("job", "backbone", "kernels")
_DESCENDS = ("job", "backbone", "transform", "ancestors", "learned", "shape", "kernels")
_UNZIPPED = ("model/config.json", "model/metadata.json")
"""Of a backbone that is not zipped; its weights are part of the fingerprint."""
_CHOOSE_AGAIN = "run python -m trainer.task {} again"
_ANEW = "restore the job, or train it anew in another --job-dir"


@dataclass(frozen=True)
class Job:
    """Paths of a job directory."""

    folder: Path

    @property
    def backbone(self) -> Path:
        """Folder of the backbone; it is finished once ``fingerprint.json``, written last, is
        there.
        """
        return self.folder / "backbone"

    @property
    def checkpoints(self) -> Path:
        """What an interrupted pre-training run resumes from."""
        return self.backbone / "checkpoints"

    @property
    def kernels(self) -> Path:
        """Folder of the kernels."""
        return self.folder / "kernels"

    @property
    def history(self) -> Path:
        """What became of kernels, line by line; beside them, since it holds moments."""
        return self.folder / "history.jsonl"

    @property
    def fleet(self) -> Path:
        """Folder of shards of fine-tuning that are to be gathered."""
        return self.folder / "fleet"

    @property
    def memory(self) -> Path:
        """Folder of what kernels remember."""
        return self.folder / "memory"

    @property
    def reports(self) -> Path:
        """Folder of metrics and reports."""
        return self.folder / "reports"

    @property
    def logs(self) -> Path:
        """Folder of TensorBoard logs."""
        return self.folder / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether a finished backbone is here."""
        return (self.backbone / _FINGERPRINT).exists()

    @property
    def goes_on_alone(self) -> bool:
        """Whether pre-training goes on, or is done, with what is here: a backbone that goes on from
        another needs that one up to its first checkpoint.
        """
        return self.finished or (self.checkpoints / "latest" / "checkpoint").exists()

    def check_finished(self) -> None:
        """Raises ``InputError``, which names the missing step, where there is no finished
        backbone.
        """
        if not self.finished:
            found = "holds no finished backbone" if self.folder.is_dir() else "no such job"
            raise InputError(f"{self.folder}: {found}; run python -m trainer.task pretrain first")

    def experiment(self) -> Experiment:
        """The experiment that the backbone was trained with, with the scores and the routing that
        were chosen since; ``trainer.registry.routes.job_routes`` adds the scores of domains that
        are younger. Raises ``InputError`` where there is no finished backbone, or a file is
        damaged.
        """
        path, content = self.backbone / _EXPERIMENT, self.raw_experiment()
        chosen = self.chosen_score()
        if self.routing.exists():
            content["routing"] = self._chosen_routing()
        try:
            if chosen is None:
                return Experiment.model_validate(content)
            path = self.score
            plain = Experiment.model_validate(content | {"score": chosen["score"], "scores": {}})
            there = {domain.name for domain in plain.domains}
            scores = {name: text for name, text in chosen["scores"].items() if name in there}
            return Experiment.model_validate(plain.model_dump(mode="json") | {"scores": scores})
        except ValidationError as error:
            raise InputError(
                f"{path}: not an experiment: {error.errors()[0]['msg']}; {_ANEW}"
            ) from None

    @property
    def score(self) -> Path:
        """What pages are ranked by, where it is not what the backbone's config had."""
        return self.folder / "score.json"

    def chosen_score(self) -> dict[str, Any] | None:
        """``score`` and ``scores`` as they were chosen since the backbone was trained; None where
        none were. Raises ``InputError`` where the file is damaged.
        """
        if not self.score.exists():
            return None
        chosen = {"scores": {}} | read_sealed(
            self.score, _CHOOSE_AGAIN.format("score"), "score", optional=("scores",)
        )
        score, scores = chosen["score"], chosen["scores"]
        texts = isinstance(scores, dict) and all(isinstance(text, str) for text in scores.values())
        if not texts or not (score is None or isinstance(score, str)):
            raise InputError(
                f"{self.score}: expected expressions as text; {_CHOOSE_AGAIN.format('score')}"
            )
        return chosen

    def choose_score(self, experiment: Experiment, domains: Collection[str] = ()) -> dict[str, str]:
        """Ranks pages by the scores of another config of the same tasks, from the next export on.

        Args:
          experiment: of that config.
          domains: only these are ranked by it, and all others as before; ``all`` is ``score``, and
            a domain to which the config gives no score of its own has none from then on. Without
            any, all that the config says counts.

        Returns:
          Domain -> expression, as ``Experiment.ranked_by``.

        Raises:
          InputError: no finished backbone, or its tasks are others.
        """
        self.check_finished()
        trained = Experiment.model_validate(self.raw_experiment()).tasks
        if not trained.same_as(experiment.tasks):
            raise InputError(
                f"tasks: the backbone of {self.folder} was trained for {trained.words}, and the"
                f" config has {experiment.tasks.words}; a score reads the tasks of the backbone"
            )
        score, scores = experiment.score, experiment.scores
        if domains:
            former = self.chosen_score() or self.experiment().model_dump(
                include={"score", "scores"}
            )
            kept = {name: text for name, text in former["scores"].items() if name not in domains}
            taken = {name: text for name, text in scores.items() if name in domains}
            score, scores = score if ALL in domains else former["score"], kept | taken
        write_sealed(self.score, {"score": score, **({"scores": scores} if scores else {})})
        return experiment.model_copy(update={"score": score, "scores": scores}).ranked_by

    @property
    def routing(self) -> Path:
        """How rows are answered that name no domain, where it is not as the backbone's config
        had it.
        """
        return self.folder / "routing.json"

    def _chosen_routing(self) -> dict[str, Any]:
        again = _CHOOSE_AGAIN.format("routing")
        chosen = read_sealed(self.routing, again, *Routing.model_fields)
        try:
            return Routing.model_validate(chosen).model_dump(mode="json")
        except ValidationError as error:
            raise InputError(
                f"{self.routing}: damaged: {error.errors()[0]['msg']}; {again}"
            ) from None

    def choose_routing(self, routing: Routing) -> None:
        """Answers rows that name no domain as another config says, from the next export on. Raises
        ``InputError`` where there is no finished backbone.
        """
        self.check_finished()
        write_sealed(self.routing, routing.model_dump(mode="json"))

    def raw_experiment(self) -> dict[str, Any]:
        """The experiment as its file has it, without settings that are younger than it. Raises
        ``InputError`` as ``experiment``.
        """
        self._check(_EXPERIMENT)
        return read_object(self.backbone / _EXPERIMENT)

    def teacher(self) -> dict[str, Any] | None:
        """Who taught the backbone, as ``trainer.distillation.teacher.Teacher.record`` said; None
        where nobody did. Raises ``InputError`` where the file is damaged.
        """
        self._check(TEACHER)
        path = self.backbone / TEACHER
        return read_sealed(path, _ANEW, *_TAUGHT_BY, optional=(COMPOSE,)) if path.exists() else None

    def ancestor(self) -> dict[str, Any] | None:
        """The backbone that this one went on from, as ``trainer.ancestry.ancestor.Ancestor.record``
        said; None where it began anew. Raises ``InputError`` where the file is damaged.
        """
        self._check(ANCESTOR)
        path = self.backbone / ANCESTOR
        return read_sealed(path, _ANEW, *_DESCENDS) if path.exists() else None

    def learned_before(self) -> tuple[Split, ...]:
        """The windows that the backbone's ancestors learned from, the first one's first; none where
        it began anew. Raises ``InputError`` as ``ancestor``.
        """
        record = self.ancestor()
        windows = record["learned"] if record else ()
        return tuple(Split.model_validate({"start": a, "end": b}) for a, b in windows)

    @property
    def ancestor_kernels(self) -> Path:
        """The kernels of the backbone that this one went on from. Raises ``InputError`` where the
        file is damaged.
        """
        self._check(ANCESTOR_KERNELS)
        return self.backbone / ANCESTOR_KERNELS

    def check_model(self) -> None:
        """Raises ``InputError`` where what stands beside the weights of a backbone that is not
        zipped is damaged.
        """
        self._check("model/")

    def fitted(self) -> "Fitted":
        """The transform that the backbone was trained on. Raises ``InputError`` where it is
        missing or damaged.
        """
        from preprocessing.features.fitted import Fitted  # Beam's file systems: not for a path

        self._check("transform/")
        return Fitted.load(str(self.backbone / "transform"))

    @property
    def golden(self) -> Path:
        """The golden requests: rows that every version of a kernel, an export and a server are
        scored on.
        """
        return self.backbone / GOLDEN_FILE

    @property
    def profile(self) -> Path:
        """The profile of the dataset that the backbone learned from: what later datasets under its
        transform are compared with. Not there where that dataset is older than profiles.
        """
        return self.backbone / PROFILE_FILE

    @property
    def judged_profile(self) -> Path:
        """The profile of the dataset that was evaluated last, where it has one."""
        return self.reports / PROFILE_FILE

    def golden_requests(self, experiment: Experiment | None = None) -> list[dict[str, Any]]:
        """The golden requests as a client sends them: raw features by name.

        Args:
          experiment: names the columns; the job's where None. One that has more topics than the
            job's may read columns that are not in the file: these are missing in every request.

        Raises:
          InputError: the job has none, or they are damaged.
        """
        if self.golden.exists():
            self._check(GOLDEN_FILE)
        from preprocessing.logs.schema import served_columns  # Arrow: not for a path

        names = [column.name for column in served_columns(self.experiment())]
        more = [c.name for c in served_columns(experiment)] if experiment else names
        try:
            rows = [
                json.loads(line) for line in self.golden.read_text(encoding="utf-8").splitlines()
            ]
            return [
                {name: row[name] for name in names}
                | {name: row.get(name) for name in more if name not in names}
                for row in rows
            ]
        except FileNotFoundError:
            raise InputError(
                f"{self.golden}: not found; trainer.task finetune copies it from a dataset; older"
                " datasets need preprocessing.task again"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{self.golden}: damaged: expected a JSON object with {', '.join(names)} on every"
                f" line: {error!r}"
            ) from None

    def fingerprint(self) -> dict[str, Any]:
        """The backbone's fingerprint: ``fingerprint``, ``transform`` and ``tensors`` (sha256 of
        each by path); of younger backbones also ``architecture`` and ``settings``
        (``trainer.backbone.fingerprint``). Raises ``InputError`` where there is none or a damaged
        one.
        """
        return {
            name: value for name, value in self._last().items() if name not in ("files", "rows")
        }

    @property
    def rows(self) -> dict[str, str] | None:
        """Split -> digest of the rows that the backbone was trained and validated on; None of
        backbones that are older than it.
        """
        return self._last().get("rows")

    def finish(self, fingerprint: dict[str, Any], rows: dict[str, str]) -> None:
        """Writes the fingerprint, which says that the backbone is finished, and lists the files
        beside it that its own parts do not cover.

        Args:
          fingerprint: of the backbone.
          rows: split -> digest of the rows that it has learned from or was validated on.
        """
        listed = [_EXPERIMENT, "history.json", TEACHER, ANCESTOR, ANCESTOR_KERNELS]
        listed += [GOLDEN_FILE, PROFILE_FILE, *_UNZIPPED]
        listed += [f"transform/{path.name}" for path in (self.backbone / "transform").iterdir()]
        there = [name for name in sorted(listed) if (self.backbone / name).is_file()]
        files = {name: sha256_of(self.backbone / name) for name in there}
        write_sealed(self.backbone / _FINGERPRINT, fingerprint | {"rows": rows, "files": files})

    def _last(self) -> dict[str, Any]:
        """What says that the backbone is finished."""
        return read_sealed(
            self.backbone / _FINGERPRINT,
            _ANEW,
            *("fingerprint", "transform", "tensors"),
            optional=("architecture", "settings", "rows", "files"),
        )

    def _check(self, prefix: str) -> None:
        """Raises ``InputError`` where one of a finished backbone's files is not as it was; of
        backbones that are older than such lists nothing is known.
        """
        files = self._last().get("files", {}) if self.finished else {}
        wanted = {name: sha256 for name, sha256 in files.items() if name.startswith(prefix)}
        listed = [Listed(self.backbone / name, sha256) for name, sha256 in wanted.items()]
        check_files(listed, _FINGERPRINT, _ANEW)
