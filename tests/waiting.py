"""Wait for something that other processes do, however busy the machine is."""

import time


def wait_for(what, check, *, process=None, log=None, seconds=400):
    """Return the first truthy value of `check`; fail at once when `process`, which should bring it about, has ended.

    The limit is only for what will never happen: two cores that are shared with other tests may be ten times slower.

    Args:
        log: the file with the output of `process`, if it does not end in a pipe.
    """
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if process is not None and process.poll() is not None:
            output = log.read_text() if log else process.communicate()
            raise AssertionError(f"the process ended before {what}: {output}")
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return found
