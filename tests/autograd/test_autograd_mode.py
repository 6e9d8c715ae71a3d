"""Grad mode: what is recorded, and where."""

from __future__ import annotations

import threading

import pytest

import tinygrad_cnn as tg


@pytest.fixture
def x():
    return tg.ones(2, requires_grad=True)


def test_nothing_is_recorded_under_no_grad(x):
    with tg.no_grad():
        y = x * 2
        assert not tg.is_grad_enabled()
    assert not y.requires_grad
    assert y.is_leaf
    assert tg.is_grad_enabled()
    assert (x * 2).requires_grad


def test_modes_nest(x):
    with tg.no_grad():
        with tg.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
        with tg.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not tg.is_grad_enabled()


def test_one_instance_may_be_entered_twice():
    switch = tg.no_grad()
    with switch, switch:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_an_error_inside_restores_the_mode():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()


def test_set_grad_enabled_works_as_a_call():
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    assert tg.is_grad_enabled()


def test_the_modes_decorate_functions(x):
    @tg.no_grad()
    def constant(x):
        """Doc."""
        return x * 2

    @tg.enable_grad()
    def recorded(x):
        return x * 2

    @tg.set_grad_enabled(False)
    def switched(x):
        return x * 2

    assert tg.is_grad_enabled()
    assert not constant(x).requires_grad
    assert constant.__name__ == "constant"
    assert constant.__doc__ == "Doc."
    assert not switched(x).requires_grad
    with tg.no_grad():
        assert recorded(x).requires_grad


def test_the_modes_without_parameters_decorate_without_parentheses(x):
    @tg.no_grad
    def double(x):
        """Twice x."""
        return 2 * x

    assert not double(x).requires_grad
    assert double.__doc__ == "Twice x."
    with tg.no_grad():
        assert tg.enable_grad(lambda: x * 2)().requires_grad


def test_a_decorated_generator_runs_in_the_mode_and_its_caller_does_not(x):
    events = []

    @tg.no_grad()
    def doubled(x):
        try:
            while x is not None:
                x = yield 2 * x
            return "end"
        except ValueError:
            yield tg.is_grad_enabled()
        finally:
            events.append(tg.is_grad_enabled())

    generator = doubled(x)
    assert not next(generator).requires_grad
    assert (x * 2).requires_grad
    assert not generator.send(x * 3).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(StopIteration, match="end"):
        generator.send(None)
    generator = doubled(x)
    next(generator)
    assert generator.throw(ValueError) is False
    generator = doubled(x)
    next(generator)
    generator.close()
    del generator
    assert events == [False] * 3
    assert tg.is_grad_enabled()


def test_a_decorated_function_may_call_itself(x):
    @tg.no_grad()
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    assert not power(x, 3).requires_grad
    assert tg.is_grad_enabled()


def test_each_thread_has_its_own_mode(x):
    seen = []
    inside, done = threading.Event(), threading.Event()

    def other():
        with tg.no_grad():
            inside.set()
            done.wait(10)
            seen.append((x * 2).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    assert (x * 2).requires_grad
    with tg.no_grad():
        pass
    done.set()
    thread.join()
    assert seen == [False]
    assert tg.is_grad_enabled()


def test_threads_may_go_through_graphs_of_their_own():
    results = {}

    def work(k):
        x = tg.full((3,), float(k), requires_grad=True)
        for _ in range(50):
            x.grad = None
            (x * x).sum().backward()
        results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: [2.0 * k] * 3 for k in range(4)}


def test_backward_works_under_no_grad(x):
    y = (x * x).sum()
    with tg.no_grad():
        y.backward()
    assert x.grad.tolist() == [2, 2]
    assert not x.grad.requires_grad


def test_results_of_constants_and_of_integers_require_nothing(x):
    assert not (tg.ones(2) * 2).requires_grad
    assert not (x > 0).requires_grad
    assert not x.argmax().requires_grad
    assert not x.detach().requires_grad
