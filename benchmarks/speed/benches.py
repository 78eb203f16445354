"""The backbone that a section measures on: Globo's where the log is at hand, a small simulated one in the quick run."""

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT, load_study
from benchmarks.speed.options import Options
from configs import load_experiment


def finished_bench(options: Options, *settings: str) -> Bench:
    """Dataset and pre-trained backbone, made where the section's folder has none yet.

    Args:
      options: of the section.
      settings: ``key.path=value`` on top of the config's.
    """
    if options.quick:
        study = load_study("quick")
        return Bench(load_experiment(ROOT / study.config, [*study.set, *settings]), None, options.folder)
    logs = options.globo()[0].resolve().parent / "*.parquet"
    return Bench(load_experiment(ROOT / "configs" / "globo.yaml", list(settings)), str(logs), options.folder)
