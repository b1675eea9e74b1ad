"""What the clients of S3 raise where a store is away, refuses or is full."""

import traceback
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
from s3fs.errors import translate_boto_error

from corpus.store_faults import store_fault

NOBODY = "127.0.0.1:9"  # a port that nothing listens to


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutObject")


def ask_by_arrow() -> None:
    files = S3FileSystem(
        endpoint_override=NOBODY,
        scheme="http",
        access_key="tests",
        secret_key="tests",
        region="us-east-1",
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
    )
    files.get_file_info("bucket/file")


def raise_it(error: Exception) -> None:
    raise error


def as_ray_tells_it(error: Exception) -> None:
    """The text of another process's trace, in an error of another class, with more behind it."""
    told = "".join(traceback.format_exception(error))
    raise RuntimeError(f"Training failed due to worker errors:\n{told}\n[Rank 1] lost its peer")


FAULTS: dict[str, tuple[Callable[[], None], str]] = {
    "away": (
        lambda: raise_it(EndpointConnectionError(endpoint_url=f"http://{NOBODY}")),
        'Could not connect to the endpoint URL: "http://127.0.0.1:9"',
    ),
    # s3fs makes of it an OSError that holds the server's words alone.
    "refuses": (
        lambda: raise_it(translate_boto_error(client_error("SlowDown"))),
        "An error occurred (SlowDown) when calling the PutObject operation: ",
    ),
    "full": (
        lambda: raise_it(translate_boto_error(client_error("QuotaExceeded"))),
        "An error occurred (QuotaExceeded) when calling the PutObject operation: ",
    ),
    "away, by Arrow": (ask_by_arrow, "AWS Error NETWORK_CONNECTION"),
    "in a worker": (
        lambda: as_ray_tells_it(EndpointConnectionError(endpoint_url=f"http://{NOBODY}")),
        "EndpointConnectionError: Could not connect to the endpoint URL",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_store_is_said_in_one_line(fault: str) -> None:
    meet, said = FAULTS[fault]
    with pytest.raises(Exception) as told:  # noqa: PT011 - of many kinds
        meet()
    found = store_fault(told.value)
    assert found is not None
    assert said.strip() in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "error",
    [
        translate_boto_error(client_error("NoSuchKey")),  # a file that is missing is none
        FileNotFoundError(2, "No such file or directory"),
        ValueError("loss is not finite"),
    ],
)
def test_other_errors_are_none_of_a_store(error: Exception) -> None:
    assert store_fault(error) is None
