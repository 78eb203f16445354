"""Packaging: what users install, and what Beam ships to its workers (``--setup_file=./setup.py``).

The plain install is what a client of a server needs (configs and ``serving.client``); the extras
add the rest. Beam's workers get the extra ``preprocess``: ``preprocessing.task`` hands them its
lines, ``requirements-worker.txt``, and every worker installs these before this package.

In a checkout the packages stand beside each other; in the tree of a release (``python -m release``)
they stand under ``domain_kernels``. This file is the same in both.
"""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGES = ("configs", "preprocessing", "trainer", "serving", "operations", "domain_kernels")
CLIENT = [
    "grpcio>=1.71,<2",
    "numpy>=1.26,<2.5",
    "protobuf>=5.29,<7",
]
PREPROCESS = (HERE / "requirements-worker.txt").read_text(encoding="utf-8").split()
TRAIN = [
    *PREPROCESS,
    "keras>=3.13,<3.16",
    "keras-rs>=0.4,<0.5",
    "tensorflow-recommenders>=0.7.7,<0.8",
    "tf-keras>=2.21,<2.22",
    "tensorboard>=2.20,<2.22",
    "scikit-learn>=1.6,<2",
    "scipy>=1.13,<2",
    "matplotlib>=3.9,<4",
]
SERVE = [
    "tensorflow>=2.21,<2.22",
    "google-crc32c>=1.5,<2",
    "tensorflow-serving-api>=2.21,<2.22",
    "grpcio-health-checking>=1.71,<1.82",  # later ones want protobuf 7
    "prometheus-client>=0.21,<1",
]
DEV = [
    "pytest>=8,<10",
    "pytest-cov>=6,<8",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.100,<7",
    "ruff>=0.14,<0.18",
    "mypy>=1.18,<3",
    "types-PyYAML>=6,<7",
    "types-tqdm>=4.66,<5",
    "build>=1.2,<2",
    "setuptools>=65,<82",  # installs the example package in a test
    "trustme>=1.2,<2",
    "jsonschema>=4.20,<5",
    "kubernetes-validate>=1.36,<2",  # holds Kubernetes's own schemas
    # an S3 server for tests: moto[server] less the checkers of CloudFormation
    "moto[s3]>=5.1,<6",
    "boto3>=1.34,<2",
    "flask>=3,<4",
    "flask-cors>=5,<7",
    "promql-parser>=0.6,<1",  # reads the alert rules and the dashboard in a test
    "twine>=6,<7",  # checks a release
    "nbclient>=0.10,<1",  # runs the notebook, with the next one
    "ipykernel>=6.29,<8",
    "nbformat>=5.10,<6",
]
BENCH = [
    "lightgbm>=4.5,<5",
]
# The client alone: mlflow itself adds a web server, Docker's client, pandas and skops.
MLFLOW = [
    "mlflow-skinny>=3.10,<4",
    "alembic>=1.13,<2",  # with the next one for a store in a database, such as sqlite:///
    "sqlalchemy>=2,<3",
]
DOCS = [
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.6,<10",
    "mkdocstrings[python]>=1,<2",
]
TUNE = [
    *TRAIN,
    "optuna>=5,<6",
]

GPU = [
    *TRAIN,
    "tensorflow[and-cuda]>=2.21,<2.22",
]

setup(
    name="domain-kernel-recommender",
    version=runpy.run_path(str(HERE / "domain_kernels" / "version.py"))["VERSION"],
    description=(
        "Pre-train a recommender once, freeze it, and adapt it to hundreds of domains by small"
        " kernels"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",  # docs/releasing.md says what is run under which
    classifiers=[f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)],
    packages=find_packages(include=[f"{name}{below}" for name in PACKAGES for below in ("", ".*")]),
    package_data={
        **{above + name: ["py.typed"] for name in PACKAGES for above in ("", "domain_kernels.")},
        **{f"{above}configs": ["*.yaml", "py.typed"] for above in ("", "domain_kernels.")},
        **{
            f"{above}serving": ["py.typed", "signature.lock.json"]
            for above in ("", "domain_kernels.")
        },
        "domain_kernels.configs.digests": ["code.sha256"],
    },
    entry_points={"console_scripts": ["domain-kernels = domain_kernels.command:main"]},
    install_requires=[
        *CLIENT,
        "pydantic>=2.10,<3",
        "PyYAML>=6,<7",
        "tzdata>=2024.1",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "client": CLIENT,
        "preprocess": PREPROCESS,
        "train": TRAIN,
        "serve": SERVE,
        "dev": DEV,
        "bench": BENCH,
        "docs": DOCS,
        "tune": TUNE,
        "mlflow": [*TRAIN, *SERVE, *MLFLOW],
        "gpu": GPU,
        "gcp": [*PREPROCESS, "apache-beam[gcp]>=2.77,<2.78"],
        "aws": [*PREPROCESS, "apache-beam[aws]>=2.77,<2.78", "boto3>=1.40,<2", "botocore>=1.40,<2"],
    },
)
