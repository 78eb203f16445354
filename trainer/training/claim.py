"""What a job directory is claimed for: one experiment, one dataset, one teacher or none, and one
backbone to go on from or none; a run that goes on with it must be of the same.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from configs import Experiment, InputError
from configs.digests.sealed_json import write_sealed
from configs.errors import first_names
from configs.files import atomic_directory, check_no_pattern, delete, write_bytes, write_json
from configs.operations.growth import refuse_progressive
from configs.section import differing_settings
from configs.training import Teaching
from trainer.ancestry.ancestor import Ancestor
from trainer.data.dataset import Dataset
from trainer.distillation.teacher import Teacher
from trainer.job import ANCESTOR, ANCESTOR_KERNELS, TEACHER, Job
from trainer.reports.text_table import describe_ancestor, describe_teacher

_EXPERIMENT = "experiment.json"
_DECISIVE = (
    "seed",
    "features",
    "tasks",
    "backbone",
    "pretrain",
)  # what a backbone depends on, beside its dataset


def experiment_taught(experiment: Experiment, taught: Job | None) -> Experiment:
    """The experiment with the default of ``pretrain.teacher`` where there is a teacher and the
    section is missing, so that what is written down says how it counted. Raises ``InputError``
    where the section is there, and no teacher.
    """
    settings = experiment.pretrain.teacher
    if taught is None and settings and settings.weight:
        raise InputError(
            "pretrain.teacher: says how much a teacher counts, and there is none; name its job with"
            " --teacher, or leave the section out"
        )
    if taught is None or settings:
        return experiment
    own = experiment.pretrain.model_copy(update={"teacher": Teaching()})
    return experiment.model_copy(update={"pretrain": own})


def open_teacher(
    experiment: Experiment, dataset: Dataset, job: Job, taught: Job | None
) -> Teacher | None:
    """The teacher, checked; None where there is none, or its weight is 0."""
    settings = experiment.pretrain.teacher
    if taught is None or settings is None:
        return None
    if not settings.weight:
        print("pretrain.teacher.weight is 0: the teacher teaches nothing", file=sys.stderr)
        return None
    if taught.folder.resolve() == job.folder.resolve():
        raise InputError(
            f"--teacher: {taught.folder} is the job that is trained; expected another, finished one"
        )
    teacher = Teacher.open(taught)
    teacher.check_reads(experiment, dataset)
    return teacher


def check_may_be_taught(job: Job) -> None:
    """Raises ``InputError`` where a teacher is named for a backbone that went on from another."""
    if record := job.ancestor():
        raise InputError(
            f"--teacher: the backbone of {job.folder} {describe_ancestor(record)}; what goes on"
            " learns from labels alone: leave --teacher out, or choose another --job-dir"
        )


def _check_teacher(job: Job, teacher: Teacher | None) -> None:
    """Raises ``InputError`` where a job was begun under another teacher."""
    theirs, ours = job.teacher(), teacher.record if teacher else None
    if _without_place(theirs) == _without_place(ours):
        return
    expected = describe_teacher(theirs) if theirs else "that nobody teaches"
    received = f"a run {describe_teacher(ours)}" if ours else "no --teacher"
    raise InputError(
        f"{job.folder}: holds a backbone {expected}; received {received}; go on with what"
        " it began with, or choose another --job-dir"
    )


def _without_place(record: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A teacher's record without where its job stands: it may have been moved."""
    return record and {name: value for name, value in record.items() if name != "job"}


def experiment_onward(experiment: Experiment) -> Experiment:
    """The experiment with the settings of ``growth`` in place of those of ``pretrain``, for a
    backbone that goes on from another: what is written down says how it was trained. Raises
    ``InputError`` where they say what such a one cannot do.
    """
    growth, settings = experiment.growth, experiment.pretrain
    refuse_progressive(settings.progressive, "--from")
    own = {
        "epochs": growth.epochs,
        "learning_rate": growth.rate * settings.learning_rate,
        "embedding_learning_rate": growth.rate * settings.embedding_learning_rate,
    }
    return experiment.model_copy(update={"pretrain": settings.model_copy(update=own)})


def holds_origin(job: Job) -> bool:
    """Whether a job holds all that it needs of the backbone that it went on from, as it does from
    its first checkpoint on: then that one's job may be gone, and need not be named.
    """
    return job.ancestor() is not None and job.goes_on_alone


def check_older(job: Job, older: Job | None) -> None:
    """Refuses a job as what another one goes on from.

    Args:
      job: that is trained.
      older: that ``--from`` names; None where it names none.

    Raises:
      InputError: the two are one, or ``job`` holds what it went on from, and the older one's
        finished backbone is another.
    """
    if older is None:
        return
    if older.folder.resolve() == job.folder.resolve():
        raise InputError(
            f"--from: {older.folder}: is the job that is trained; expected another --job-dir"
        )
    if holds_origin(job) and older.finished:
        _check_ancestor(job, Ancestor(older, older.experiment(), {}))


def say_origin(job: Job, older: Job | None) -> None:
    """Says of a job that holds what it went on from what that was, where the older one is not there
    to say it.
    """
    if older and older.finished:
        return
    origin = describe_ancestor(job.ancestor() or {})
    about = f"{job.folder}: {origin}"
    if older:
        about = (
            f"note: --from: {older.folder}: no finished backbone is there; {job.folder} holds what"
            f" it needs of the one that it began with: it {origin}"
        )
    print(about, file=sys.stderr)


def open_ancestor(experiment: Experiment, dataset: Dataset, older: Job | None) -> Ancestor | None:
    """The backbone that is gone on from, checked; None where there is none."""
    if older is None:
        return None
    ancestor = Ancestor.open(older)
    ancestor.check_carries(experiment, dataset)
    ancestor.say_left()
    return ancestor


def _check_ancestor(job: Job, ancestor: Ancestor | None) -> None:
    """Raises ``InputError`` where a job was begun from another backbone, or from none."""
    theirs = job.ancestor()
    ours = ancestor.record if ancestor else None
    if (theirs and theirs["backbone"]) == (ours and ours["backbone"]):
        return
    expected = f"that {describe_ancestor(theirs)}" if theirs else "that began anew"
    received = f"one that {describe_ancestor(ours)}" if ours else "no --from"
    advice = (
        f"give --from {theirs['job']}, which it needs up to its first checkpoint"
        if theirs and not ours
        else "go on with what it began with"
    )
    raise InputError(
        f"{job.folder}: holds a backbone {expected}; received {received}; {advice}, or choose"
        " another --job-dir"
    )


def claim(
    job: Job,
    experiment: Experiment,
    dataset: Dataset,
    teacher: Teacher | None,
    ancestor: Ancestor | None = None,
    *,
    holds: bool = False,
) -> bool:
    """Writes down what is trained in this job directory, by whom it is taught, and from which
    backbone it goes on, or checks that it is the same; not which backbone where the job ``holds``
    it, as ``holds_origin`` says. Returns whether the job was free before.
    """
    path = job.backbone / _EXPERIMENT
    ours = experiment.model_dump(mode="json")
    if _begun(job) and not path.exists():
        raise InputError(
            f"{path}: missing, though this job has trained; restore it, or choose another --job-dir"
        )
    free = not path.exists()
    if free:
        check_no_pattern(job.folder)
        with atomic_directory(job.backbone / "transform", replace=True) as folder:
            dataset.fitted.save(str(folder))
        if teacher:
            write_sealed(job.backbone / TEACHER, teacher.record)
        else:
            delete(job.backbone / TEACHER)  # of a run that was killed right here
        if ancestor:
            ancestor.keep_kernels(job)
            write_sealed(job.backbone / ANCESTOR, ancestor.record)
        else:
            delete(job.backbone / ANCESTOR)
            delete(job.backbone / ANCESTOR_KERNELS)
        delete(job.golden)  # of a run that was refused, maybe on another dataset
        write_json(path, ours)
    _check_teacher(job, teacher)
    if not holds:
        _check_ancestor(job, ancestor)
    began = job.experiment()  # as read now: with the defaults of settings younger than the job
    theirs = began.model_dump(mode="json")
    for side, growth in ((theirs, began.growth), (ours, experiment.growth)):
        side["growth"] = growth.model_dump(mode="json")  # which a dump leaves out as it comes
    if differing := _differing(theirs, ours, onward=job.ancestor() is not None):
        raise InputError(
            f"{job.folder}: holds a backbone of other settings: {first_names(differing)}; leave"
            " them as they are there, or choose another --job-dir"
        )
    if experiment.pretrain.progressive and theirs["finetune"]["split"] != experiment.finetune.split:
        raise InputError(
            f"{job.folder}: holds a backbone that learned from another 'finetune.split'; choose"
            " another --job-dir"
        )
    if not dataset.fitted.same_outputs_as(job.fitted()):
        raise InputError(
            f"{job.folder}: holds a backbone of another dataset (its transform differs); choose"
            " another --job-dir, or, for new logs under that backbone, run python -m"
            f" preprocessing.task with --transform {job.folder}"
        )
    if not free and not _begun(job):  # so that a run that fails meanwhile sees it is not alone here
        write_bytes(path, path.read_bytes())
    return free


@contextmanager
def given_back(job: Job, claimed: bool) -> Iterator[None]:
    """Frees a job directory again where what was to be trained is refused before its first
    checkpoint: whoever mends a setting may then train in the same directory.

    Args:
      job: that is trained.
      claimed: whether this run has claimed it; the claim of an earlier one stays, and that of this
        one where another run has joined it.
    """
    path = job.backbone / _EXPERIMENT
    written = path.stat().st_mtime_ns if claimed else None
    try:
        yield
    except InputError:
        if claimed and not _begun(job) and path.stat().st_mtime_ns == written:
            if (job.backbone / ANCESTOR).exists():
                delete(job.memory)  # of the backbone that it was to go on from
            delete(path)
        raise


def _begun(job: Job) -> bool:
    return job.finished or any(job.checkpoints.glob("*/checkpoint"))


def _differing(theirs: dict[str, Any], ours: dict[str, Any], *, onward: bool) -> list[str]:
    """The settings in which an experiment's backbone would be another than a job's, in words."""
    for side in (theirs, ours):  # a topic that the body does not read is no matter of the backbone
        side["topics"] = {name: side["topics"][name] for name in side["backbone"]["topics"]}
    found = _named_by_growth(theirs, ours) if onward else []
    for section in (*_DECISIVE, "topics"):
        found += differing_settings(theirs[section], ours[section], section)
    # it is that of the towers
    found += ["the order of tasks"] if [*theirs["tasks"]] != [*ours["tasks"]] else []
    return found


def _named_by_growth(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Takes out of ``pretrain`` what ``experiment_onward`` put there, under its own name."""
    found: list[str] = []
    for name in ("epochs", "rate"):
        theirs_of, ours_of = theirs["growth"][name], ours["growth"][name]
        found += differing_settings(theirs_of, ours_of, f"growth.{name}")
    same_rate = theirs["growth"]["rate"] == ours["growth"]["rate"]
    for side in (theirs, ours):
        settings = side["pretrain"]
        del settings["epochs"]
        for name in ("learning_rate", "embedding_learning_rate"):
            rate = settings.pop(name)
            if same_rate:
                settings[f"{name} x growth.rate"] = rate
    return found
