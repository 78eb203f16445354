"""Folders on an object store, an S3 server on loopback: uploads that are killed (kill -9) after
every change of what is stored, a training that goes on on another machine, and how fast it is.

Bars: what a reader finds after a kill is the former folder or the new one (``half_seen`` is 0), the
next run finishes the upload (``not_finished`` is 0), and a backbone whose training was killed goes
on from its last uploaded checkpoint, in another scratch folder, to the same weights
(``other_backbones`` is 0). Rates are those of Beam's client, on a machine that also runs the
server.
"""

import random
import shutil
import signal
import time
from pathlib import Path

from benchmarks.reliability.object_store import killed_after, object_store
from benchmarks.reliability.small_job import Small, begin, begin_in, finish, kill
from benchmarks.speed.options import Figures, Options
from configs.digests.listed_files import sha256_of
from configs.files import write_bytes
from preprocessing.beam.progress import say
from preprocessing.remote import transfer
from preprocessing.remote.folder import taken_in
from trainer.job import Job

_SEED = 1306
_MIB = 1 << 20
_NEW_FILES = 3


def measure(options: Options) -> Figures:
    """See the module."""
    begin_in(options.folder, "preprocessing.beam.dataset_job", "trainer.training.pretrain")
    small, log = Small(options.folder), options.folder / "log.txt"
    for step in (small.simulate(), small.preprocess()):
        finish(step, log)
    seconds = finish(small.train("pretrain"), log)
    with object_store() as store:
        return {
            **_cuts(Job(small.job).backbone / "transform", store, options.folder),
            **_trainings(small, store, seconds, 1 if options.quick else 5),
            **_rates(store, options),
        }


def _cuts(former: Path, store: str, folder: Path) -> Figures:
    """A folder, and the same with files that are new, changed and gone."""
    changed = shutil.copytree(former, folder / "changed")
    gone, other = sorted(changed.iterdir())[:2]
    gone.unlink()
    write_bytes(other, b"changed")
    for number in range(1, _NEW_FILES):
        write_bytes(changed / "new" / f"{number}", b"%d" % number)
    states = [_digests(former), _digests(changed)]
    killed, half, unfinished, cut = 0, 0, 0, True
    while cut:
        say(f"an upload is killed after {killed} changes ...")
        path, here, elsewhere = f"{store}/cut/{killed}", folder / "here", folder / f"cut-{killed}"
        _upload(former, path, here)
        act = killed_after(killed, lambda: _upload(changed, path, here))  # noqa: B023
        process = begin(act, folder / "log.txt")
        process.join()
        cut = process.exitcode == -signal.SIGKILL
        half += _read(path, elsewhere) != states[0 if cut else 1]
        unfinished += _read(path, here) != states[1] or _read(path, elsewhere) != states[1]
        killed += cut
    return {"uploads_killed": killed, "half_seen": half, "not_finished": unfinished}


def _trainings(small: Small, store: str, seconds: float, rounds: int) -> Figures:
    """Pre-trainings that are killed at random moments and go on elsewhere.

    Args:
      small: with a dataset, and a backbone to compare with.
      store: path of a bucket.
      seconds: that a training takes.
      rounds: how many are killed.
    """
    draws = random.Random(_SEED)  # noqa: S311 - no secret
    expected = Job(small.job).fingerprint()["fingerprint"]
    log, other, at_work = small.folder / "log.txt", 0, 0
    for number in range(rounds):
        say(f"training {number + 1} of {rounds} is killed ...")
        job, scratch = f"{store}/job/{number}", small.folder / f"training-{number}"
        process = begin(small.elsewhere("pretrain", job, scratch / "first"), log)
        time.sleep(draws.uniform(0.5, 2.0) * seconds)
        at_work += kill(process)
        finish(small.elsewhere("pretrain", job, scratch / "second"), log)
        with taken_in(job, scratch / "reader") as folder:
            other += Job(folder.local).fingerprint()["fingerprint"] != expected
    return {"trainings": rounds, "trainings_killed_at_work": at_work, "other_backbones": other}


def _rates(store: str, options: Options) -> Figures:
    """Few large files, and many small ones."""
    say("rates ...")
    mib, files = (8, 40) if options.quick else (64, 200)
    content = random.Random(_SEED).randbytes(mib * _MIB)  # noqa: S311 - no secret
    for number in range(4):
        write_bytes(options.folder / "rates" / "large" / f"{number}", content)
    for number in range(files):
        write_bytes(options.folder / "rates" / "small" / f"{number}", content[:number])
    figures: Figures = {"files_at_once": transfer.THREADS}
    for name, amount, unit in (("large", 4 * mib, "mib_per_s"), ("small", files, "files_per_s")):
        path, folder = f"{store}/rates/{name}", options.folder / "rates" / name
        start = time.perf_counter()
        _upload(folder, path, options.folder / "here")
        middle = time.perf_counter()
        _read(path, options.folder / "reader")
        figures[f"upload_{unit}"] = amount / (middle - start)
        figures[f"download_{unit}"] = amount / (time.perf_counter() - middle)
    return figures


def _upload(source: Path, path: str, scratch: Path) -> None:
    with taken_in(path, scratch) as folder:
        shutil.rmtree(folder.local)
        shutil.copytree(source, folder.local)
        folder.publish()


def _read(path: str, scratch: Path) -> dict[str, str]:
    with taken_in(path, scratch) as folder:
        return _digests(folder.local)


def _digests(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}
