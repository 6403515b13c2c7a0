"""A stand-in for S3 in this process, on a port of its own at 127.0.0.1."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

NOWHERE = "http://127.0.0.1:9"


def _variables(address: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }


@contextmanager
def s3_server() -> Iterator[str]:
    """A server while the block lasts; its address."""
    server = pytest.importorskip("moto.server", reason="moto stands in for S3")
    pytest.importorskip("s3fs", reason="the extra s3")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        yield "http://{}:{}".format(*running.get_host_and_port())
    finally:
        running.stop()


@contextmanager
def s3_bucket(address: str) -> Iterator[str]:
    """A new empty bucket, which this process and those it starts can reach; its URL."""
    import boto3

    with mock.patch.dict(os.environ, _variables(address)):
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        boto3.client("s3").create_bucket(Bucket=name)
        yield f"s3://{name}"


@contextmanager
def s3_away() -> Iterator[None]:
    """No server answers."""
    with mock.patch.dict(os.environ, _variables(NOWHERE)):
        yield
