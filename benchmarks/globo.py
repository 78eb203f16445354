"""``python -m benchmarks.globo``: the Globo run of the README, from logs to the table, with the expensive reference beside it.

Rows of the table: the frozen backbone alone (pre-trained to 10-06), the kernel of all traffic, every row under its most specific active
domain (``auto``), and the reference that costs most: a backbone trained on all days to 10-10. Everything runs through the public commands.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


def run_job(logs: str, folder: Path, overrides: list[str], kernels: bool) -> dict[str, Any]:
    """Preprocesses, trains and evaluates into a folder. Returns the evaluation of every split, and seconds by step."""
    data, job = str(folder / "data"), str(folder / "job")
    places = ("--data", data, "--job-dir", job)
    seconds = {}
    _, seconds["preprocess"] = command("preprocessing.task", "--input", logs, "--output", data, overrides=overrides)
    _, seconds["pretrain"] = command("trainer.task", "pretrain", *places, overrides=overrides)
    if kernels and not (folder / "job" / "kernels" / "active.json").exists():
        _, seconds["finetune"] = command("trainer.task", "finetune", *places, overrides=overrides)
    splits = {
        split: json.loads(command("trainer.task", "evaluate", "--json", "--split", split, *places, overrides=overrides)[0])
        for split in _SPLITS
    }
    return {"splits": splits, "seconds": seconds}


def summarise(tuned: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """split -> row of the table -> task -> AUC; and the mean gain over single-topic domains in AUC points."""
    summary: dict[str, Any] = {}
    for split in _SPLITS:
        result = tuned["splits"][split]
        everyone, single = result["domains"]["all"], [domain for name, domain in result["domains"].items() if name.count("=") == 1]
        summary[split] = {
            "backbone, zero-shot": {task: result["overall"][task]["auc"]["backbone"] for task in _TASKS},
            "kernel of all traffic": {task: everyone[task]["auc"]["kernel"] for task in _TASKS},
            "auto: active kernels": {task: result["overall"][task]["auc"]["kernel"] for task in _TASKS},
            "backbone of all days": {task: reference["splits"][split]["overall"][task]["auc"]["backbone"] for task in _TASKS},
            "mean gain, single-topic domains (points)": {
                task: 100.0 * sum(domain[task]["auc"]["delta"] for domain in single) / len(single) for task in _TASKS
            },
        }
    return summary


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.globo", description=__doc__)
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data")) / "globo"
    parser.add_argument("--input", type=Path, default=default, metavar="DIR", help=f"folder of the Globo logs ({default})")
    parser.add_argument("--output", type=Path, default=Path("runs/globo"), metavar="DIR", help="where everything is left (runs/globo)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a setting of configs/globo.yaml")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    if not arguments.input.is_dir():
        print(f"error: {arguments.input}: no such folder; give --input or RECSYS_DATA", file=sys.stderr)
        sys.exit(2)
    try:
        tuned = run_job(str(arguments.input), arguments.output, arguments.set, kernels=True)
        reference = run_job(str(arguments.input), arguments.output / "all_days", [*arguments.set, _ALL_DAYS], kernels=False)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    summary = summarise(tuned, reference)
    if arguments.json:
        print(json.dumps({"auc": summary, "seconds": {"kernels": tuned["seconds"], "all_days": reference["seconds"]}}, indent=1))
        return
    for split, rows in summary.items():
        print(f"{split:<42} CTR-AUC  CTCVR-AUC")
        for name, figures in rows.items():
            print(f"  {name:<40} {figures['ctr']:>7.4f}    {figures['ctcvr']:>7.4f}")
    print("seconds:", {"kernels": tuned["seconds"], "all_days": reference["seconds"]})


if __name__ == "__main__":
    main()
