"""The day's refresh as an Airflow DAG (2.7 or later); docs/operations.md says what its exit codes
mean.

A run that is cleared or retried goes on where it was. Exit code 3, a threshold, is a failure that
another try does not mend, so it ends the run at once; the summary is in the task's log.
"""

import subprocess
from datetime import datetime, timedelta

from airflow.decorators import dag, task
from airflow.exceptions import AirflowException, AirflowFailException

REFUSED = 3


@dag(
    schedule="20 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
)
def recommender_refresh() -> None:
    """One task: the command goes on by itself where an earlier try of it ended."""

    @task
    def refresh(data_interval_end: datetime | None = None) -> None:
        """The days that had ended when this run was due."""
        as_of = f"{data_interval_end:%Y-%m-%d}"
        done = subprocess.run(  # noqa: S603 - fixed words
            [
                "/opt/recommender/bin/python",
                "-m",
                "operations.refresh",
                "--config=/srv/config.yaml",
                "--job-dir=/srv/job",
                "--input=/srv/logs/*.parquet",
                f"--as-of={as_of}",
                "--work=/srv/work",
                "--models=/srv/models",
            ],
            check=False,
        )
        if done.returncode == REFUSED:
            raise AirflowFailException(f"refresh as of {as_of} was refused: see the log above")
        if done.returncode:
            raise AirflowException(f"refresh as of {as_of} ended with exit code {done.returncode}")

    refresh()


recommender_refresh()
