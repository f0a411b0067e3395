"""Wait for something that other processes do, however busy the machine is."""

import time
from pathlib import Path


def wait_for(what, check, *, process=None, log=None, servings=(), seconds=600):
    """Return the first truthy value of `check`; fail at once when a process that should bring it about has ended.

    The limit is only for what will never happen: two cores that are shared with other tests may be ten times slower.

    Args:
        process: one that is waited for.
        log: the file with its output, if that does not end in pipes.
        servings: further ones, objects with a `process` and its `log`; asked for anew at each look.
    """

    def read_outputs(watched):
        return "\n".join(str(Path(file).read_text() if file else one.communicate()) for one, file in watched)

    deadline = time.monotonic() + seconds
    while True:
        watched = [(process, log)] if process else []
        watched += [(serving.process, serving.log) for serving in servings]
        ended = [pair for pair in watched if pair[0].poll() is not None]  # before the check: it may be its last act
        if found := check():
            return found
        assert not ended, f"waited for {what}, but exit code {ended[0][0].returncode}:\n{read_outputs(ended)}"
        if time.monotonic() > deadline:
            outputs = read_outputs(pair for pair in watched if pair[1])  # a pipe would be waited for
            raise AssertionError(f"waited {seconds} s for {what}:\n{outputs}")
        time.sleep(0.1)
