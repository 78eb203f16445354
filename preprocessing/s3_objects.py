"""Objects of S3 by Beam's client for it, kept from one file to the next: Beam's file system makes a
client for each file, which takes longer than to send a small one.

Beam's client takes a bucket that is not there for an empty one, and waits for minutes where nobody
answers. So each bucket is looked at once before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from configs.errors import InputError

_CONNECT_SECONDS, _ANSWER_SECONDS, _ATTEMPTS = 5, 10, 2
"""How long, and how often, a store may take to list one object."""

_answered: set[str] = set()
"""Buckets that have answered this process."""
_idle: list[tuple[Any, Any]] = []
"""Clients that nobody uses now, with the options they were made with; a forked process has its
own.
"""
os.register_at_fork(after_in_child=_idle.clear)


def is_s3(path: str) -> bool:
    """Whether a path is of S3."""
    return path.startswith("s3://")


def look(path: str, options: Any) -> None:
    """Asks for a bucket, once a process: an answer that is no refusal of the bucket itself will do,
    since who may read an object may not always list.

    Args:
      path: in the bucket.
      options: Beam's.

    Raises:
      InputError: there is no such bucket, or the store cannot be asked.
    """
    from apache_beam.io.aws.s3io import parse_s3_path
    from apache_beam.options.pipeline_options import S3Options
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = parse_s3_path(path, object_optional=True)
    if bucket in _answered:
        return
    given = options.view_as(S3Options)
    client = Session().client(
        "s3",
        region_name=given.s3_region_name,
        api_version=given.s3_api_version,
        use_ssl=not given.s3_disable_ssl,
        verify=given.s3_verify,
        endpoint_url=given.s3_endpoint_url,
        aws_access_key_id=given.s3_access_key_id,
        aws_secret_access_key=given.s3_secret_access_key,
        aws_session_token=given.s3_session_token,
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            retries={"total_max_attempts": _ATTEMPTS},
        ),
    )
    try:
        client.list_objects_v2(Bucket=bucket, Prefix=key.partition("*")[0], MaxKeys=1)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            raise InputError(
                f"{path}: s3://{bucket} is not there ({client.meta.endpoint_url} has no such"
                " bucket); expected one that is: make it, or correct the path"
            ) from None
    except BotoCoreError as error:
        raise InputError(
            f"{path}: the store of s3://{bucket} cannot be asked: {error}; look at the network,"
            " AWS_ENDPOINT_URL and the keys, and run this again"
        ) from None
    _answered.add(bucket)


@contextmanager
def created(path: str, options: Any) -> Iterator[Any]:
    """An object to write; ``options`` are Beam's. S3 shows it when the block has ended."""
    with _client(options) as s3, s3.open(path, "wb") as file:
        yield file


@contextmanager
def opened(path: str, options: Any) -> Iterator[Any]:
    """An object to read. Raises ``FileNotFoundError`` where there is none."""
    with _client(options) as s3, s3.open(path, "rb") as file:
        yield file


def put_empty(path: str, options: Any) -> None:
    """Writes an object without a byte. Beam sends what it writes in parts, and S3 takes no object
    of none.
    """
    from apache_beam.io.aws.s3io import parse_s3_path

    bucket, key = parse_s3_path(path)
    with _client(options) as s3:
        s3.client.client.put_object(Bucket=bucket, Key=key, Body=b"")


@contextmanager
def _client(options: Any) -> Iterator[Any]:
    """A client to oneself; one that has failed is not used again."""
    from apache_beam.io.aws.s3io import S3IO

    made_for, client = _idle.pop() if _idle else (None, None)
    if made_for is not options:
        client = S3IO(options=options)
    yield client
    _idle.append((options, client))
