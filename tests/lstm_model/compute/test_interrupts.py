"""What the thread that hears signals does while another one trains."""

import os
import signal
import threading
import time

import pytest

from lstm_model.compute.interrupts import run_interruptibly


class Terminated(BaseException):
    pass


@pytest.fixture
def raising():
    """A handler that raises, as Prefect's does."""

    def handler(number, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_until_the_work_has_kept_where_it_is(raising):
    stop, kept, seen = threading.Event(), [], []

    def work():
        seen.append(signal.getsignal(signal.SIGTERM))
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10), "the signal is heard while the work goes on"
        time.sleep(0.2)
        kept.append("checkpoint")

    with pytest.raises(Terminated):
        run_interruptibly(work, stop)
    assert kept == ["checkpoint"]
    assert seen == [raising], "Prefect asks whether the handler is its own before it lets a run be cancelled gracefully"


def test_results_and_errors_come_back():
    assert run_interruptibly(lambda: 3, threading.Event()) == 3
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, threading.Event())


def test_it_works_beside_the_main_thread_too():
    results = []
    thread = threading.Thread(target=lambda: results.append(run_interruptibly(lambda: 3, threading.Event())))
    thread.start()
    thread.join(10)
    assert results == [3]
