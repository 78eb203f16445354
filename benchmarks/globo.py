"""``python -m benchmarks.globo``: the Globo run of the README, from logs to the table, with the expensive reference beside it.

Rows of the table: the frozen backbone alone (pre-trained to 10-06), the kernel of all traffic, every row under its most specific active
domain (``auto``), and the reference that costs most: a backbone trained on all days to 10-10; for every figure the mean over seeds, the
lowest and the highest. Everything runs through the public commands.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trainer.job import write_json
from trainer.table import is_single_topic

_CONFIG = Path(__file__).parents[1] / "configs" / "globo.yaml"
_ALL_DAYS = "splits.pretrain.end=2017-10-11T03:00:00Z"
_SPLITS = ("validation", "test", "far_test")
_TASKS = ("ctr", "ctcvr")


def command(module: str, *arguments: str, overrides: list[str]) -> tuple[str, float]:
    """Runs a command of ours; its progress goes to stderr. Returns what it printed, and its seconds."""
    words = [sys.executable, "-m", module, *arguments, "--config", str(_CONFIG), *(word for item in overrides for word in ("--set", item))]
    start = time.perf_counter()
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout, time.perf_counter() - start


def run_job(logs: str, folder: Path, seed: int, overrides: list[str], kernels: bool) -> dict[str, Any]:
    """Preprocesses (where that is not done), trains and evaluates in a folder; what ran to its end with these overrides is not run again.

    Returns the evaluation of every split, and seconds by step.
    """
    data, job, finished = folder / "data", folder / f"job-{seed}", folder / f"result-{seed}.json"
    if finished.exists():
        former: dict[str, Any] = json.loads(finished.read_text())
        if former["overrides"] == overrides:
            return former
    places = ("--data", str(data), "--job-dir", str(job))
    seeded = [*overrides, f"seed={seed}"]
    seconds = {}
    if not (data / "manifest.json").exists():
        seconds["preprocess"] = command("preprocessing.task", "--input", logs, "--output", str(data), overrides=overrides)[1]
    seconds["pretrain"] = command("trainer.task", "pretrain", *places, overrides=seeded)[1]
    if kernels:
        seconds["finetune"] = command("trainer.task", "finetune", *places, overrides=seeded)[1]
    splits = {
        split: json.loads(command("trainer.task", "evaluate", "--json", "--split", split, *places, overrides=seeded)[0])
        for split in _SPLITS
    }
    result = {"overrides": overrides, "splits": splits, "seconds": seconds}
    write_json(finished, result)
    return result


def rows_of_table(tuned: dict[str, Any], reference: dict[str, Any], split: str) -> dict[str, dict[str, float]]:
    """Row of the table -> task -> AUC; the mean gains over single-topic domains in AUC points."""
    result, retrained = tuned["splits"][split], reference["splits"][split]
    everyone, single = result["domains"]["all"], [domain for name, domain in result["domains"].items() if is_single_topic(name)]
    rows = {
        "backbone, zero-shot": {task: result["overall"][task]["auc"]["backbone"] for task in _TASKS},
        "kernel of all traffic": {task: everyone[task]["auc"]["kernel"] for task in _TASKS},
        "auto: active kernels": {task: result["overall"][task]["auc"]["kernel"] for task in _TASKS},
        "backbone of all days": {task: retrained["overall"][task]["auc"]["backbone"] for task in _TASKS},
    }
    rows["auto minus zero-shot (points)"] = {
        task: 100.0 * (rows["auto: active kernels"][task] - rows["backbone, zero-shot"][task]) for task in _TASKS
    }
    rows["auto minus backbone of all days (points)"] = {
        task: 100.0 * (rows["auto: active kernels"][task] - rows["backbone of all days"][task]) for task in _TASKS
    }
    rows["mean gain, single-topic domains (points)"] = {
        task: 100.0 * sum(domain[task]["auc"]["delta"] for domain in single) / len(single) for task in _TASKS
    }
    return rows


def summarise(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """split -> row of the table -> task -> mean over seeds, lowest, highest."""
    summary: dict[str, Any] = {}
    for split in _SPLITS:
        tables = [rows_of_table(tuned, reference, split) for tuned, reference in runs]
        summary[split] = {}
        for row in tables[0]:
            by_task = {task: [table[row][task] for table in tables] for task in _TASKS}
            summary[split][row] = {
                task: {"mean": sum(values) / len(values), "lowest": min(values), "highest": max(values)} for task, values in by_task.items()
            }
    return summary


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.globo", description=__doc__)
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data")) / "globo"
    parser.add_argument("--input", type=Path, default=default, metavar="DIR", help=f"folder of the Globo logs ({default})")
    parser.add_argument("--output", type=Path, default=Path("runs/globo"), metavar="DIR", help="where everything is left (runs/globo)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19], metavar="N", help="one run each (17 18 19)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a setting of configs/globo.yaml")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    if not arguments.input.is_dir():
        print(f"error: {arguments.input}: no such folder; give --input or RECSYS_DATA", file=sys.stderr)
        sys.exit(2)
    logs, folder, overrides = str(arguments.input), arguments.output, arguments.set
    try:
        runs = [
            (
                run_job(logs, folder, seed, overrides, kernels=True),
                run_job(logs, folder / "all_days", seed, [*overrides, _ALL_DAYS], kernels=False),
            )
            for seed in arguments.seeds
        ]
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    summary = summarise(runs)
    seconds = {
        str(seed): {"kernels": tuned["seconds"], "all_days": reference["seconds"]}
        for seed, (tuned, reference) in zip(arguments.seeds, runs, strict=True)
    }
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "auc": summary, "seconds": seconds}, indent=1))
        return
    for split, rows in summary.items():
        print(f"{split:<42} {'CTR':^26}  {'CTCVR':^26}")
        for name, figures in rows.items():
            shown = (f"{figure['mean']:7.4f} [{figure['lowest']:7.4f}, {figure['highest']:7.4f}]" for figure in figures.values())
            print(f"  {name:<40} {'  '.join(shown)}")
    print("seconds by seed:", seconds)


if __name__ == "__main__":
    main()
