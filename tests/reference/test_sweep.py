"""The sweep itself: it finds nothing wrong in PyTorch, and finds what is made wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import PyTorch  # noqa: E402
from oracle.operations import row  # noqa: E402
from sweep import sweep  # noqa: E402

EXP = row("exp", "tg.exp")


class Broken(PyTorch):
    """PyTorch, but for one function."""

    def __init__(self, path: str, function: Callable[..., Any]) -> None:
        super().__init__()
        self.path, self.function = path, function

    def resolve(self, path: str) -> Callable[..., Any]:
        return self.function if path == self.path else super().resolve(path)


class WrongSecond(torch.autograd.Function):
    """exp, whose gradient is right but constant."""

    @staticmethod
    def forward(context: Any, x: Any) -> Any:
        y = torch.exp(x)
        context.save_for_backward(y.detach())
        return y

    @staticmethod
    def backward(context: Any, g: Any) -> Any:
        return g * context.saved_tensors[0]


class WrongFirst(WrongSecond):
    @staticmethod
    def backward(context: Any, g: Any) -> Any:
        return 1.0001 * g * context.saved_tensors[0]


def written_to(x: Any) -> Any:
    y = torch.exp(x)
    x.detach().zero_()
    return y


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: torch.exp(x) * (1 + 1e-6), "value of output 0: "),
        (lambda x: torch.exp(x.double()), "expected dtype float32, got float64"),
        (lambda x: torch.exp(x)[None], "expected shape"),
        (lambda x: (torch.exp(x),), "expected tensor, got (tensor)"),
        (lambda x: torch.exp(x).detach(), "requires_grad of the outputs"),
        (written_to, "argument tensor 0 after the call"),
        (WrongFirst.apply, "first derivative"),
        (WrongSecond.apply, "second derivative"),
    ],
)
def test_a_mistake_is_found_and_named(function: Callable[..., Any], text: str) -> None:
    kinds = ("float32",) if "float32" in text else ("float64",)
    failures = sweep(EXP, Broken("tg.exp", function), kinds).failures
    assert failures
    assert all(text in failure.text for failure in failures), failures[0].text


def test_an_accepted_mistake_is_found() -> None:
    any_shape = Broken("tg.reshape", lambda x, shape: x)
    failures = sweep(row("reshape", "tg.reshape"), any_shape, ("error",)).failures
    assert failures
    assert all("accepted what PyTorch rejects" in failure.text for failure in failures)


def test_pytorch_agrees_with_itself() -> None:
    assert not sweep(EXP, PyTorch(), limit=4).failures
