"""Reading ahead changes when things are made, and nothing else."""

import threading

import pytest

from lstm_model.compute.prefetch import prefetch


def test_the_next_is_made_while_this_one_is_used():
    made = threading.Event()

    def numbers():
        yield 1
        made.set()
        yield 2

    taken = prefetch(numbers())
    assert next(taken) == 1
    assert made.wait(10), "before anybody asked for it"
    assert list(taken) == [2]


def test_at_most_one_waits():
    made = []

    def numbers():
        for number in range(10):
            made.append(number)
            yield number

    taken = prefetch(numbers())
    next(taken)
    taken.close()
    assert len(made) <= 2


def test_an_error_comes_where_its_item_would_have():
    def numbers():
        yield 1
        raise ValueError("no second")

    taken = prefetch(numbers())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="no second"):
        next(taken)
