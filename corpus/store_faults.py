"""What the clients of a store say where it refuses, takes no more, or is away.

They share no class of errors, and what a worker meets reaches the driver as the text of a trace.
"""

# Words of s3fs, which speaks as botocore does, and of Arrow's own client.
SAID = ("An error occurred (", ' endpoint URL: "', "AWS Error ")


def store_fault(error: BaseException | None) -> str | None:
    """What an error, or what it came of, says of a store, in one line; None where nothing.

    That a file is missing is no fault of the store.

    Args:
        error: of this process, or one of Ray's that holds the trace of another.

    >>> store_fault(OSError("When writing: AWS Error SLOW_DOWN during PutObject operation"))
    'When writing: AWS Error SLOW_DOWN during PutObject operation'
    >>> store_fault(ValueError("of another kind")) is None
    True
    """
    found = None
    while error is not None and not isinstance(error, FileNotFoundError):  # the first says it best
        lines = [line.strip() for line in str(error).splitlines()]
        said = [line for line in lines if any(words in line for words in SAID)]
        found = said[-1][:300] if said else found
        error = error.__cause__ or error.__context__
    return found
