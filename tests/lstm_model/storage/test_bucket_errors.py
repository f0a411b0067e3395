import pytest

from lstm_model.storage.bucket_errors import translate_error


class UnauthenticatedError(Exception):
    """As obstore calls it."""


class InvalidPathError(Exception):
    """As obstore calls it."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError("NoSuchBucket"), ValueError, "there is no bucket b for the store s3://b/x: create it"),
        (FileNotFoundError("no such key"), FileNotFoundError, "s3://b/x/a.json does not exist"),
        (UnauthenticatedError("timed out"), PermissionError, "denies access: timed out. Check the credentials"),
        (Exception("http://169.254.169.254/latest timed out"), PermissionError, "denies access"),
        (InvalidPathError("Path a//\x01 Debug source: x"), ValueError, "holds an object that no run has written, and"),
        (InvalidPathError("Path a//\x01 Debug source: x"), ValueError, r"listed: Path a//\x01. Remove that object"),
        (Exception("kind: Timeout"), TimeoutError, "does not answer within 2.5 s: kind: Timeout"),
        (Exception("status code: 409 <?xml ?>"), ValueError, "the store s3://b/x refuses: status code: 409"),
        (Exception("status code: 503"), ConnectionError, "cannot be reached: status code: 503. Check the network"),
    ],
)
def test_each_error_of_a_store_is_told_by_its_kind(error, kind, message):
    ours = translate_error(error, url="s3://b/x", name="a.json", timeout_seconds=2.5)
    assert type(ours) is kind and message in str(ours)
