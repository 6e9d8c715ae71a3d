"""Reverse-mode automatic differentiation: primitives, the graph they record, and the pass back through it.

The engine knows no operation. A `Primitive` is a function on arrays with a vector-Jacobian product (VJP) beside
it for each input that can have a gradient; calling it with a tensor that requires a gradient records a `Node`;
`backward` and `grad` walk the nodes from the newest to the oldest, each once, and run their VJPs.

A VJP is polymorphic: the ordinary pass runs it on plain arrays, and nothing is recorded; with
``create_graph=True`` the same text runs on tensors and records itself, so derivatives of any order follow.
"""

from tinygrad_cnn.autograd.anomaly import detect_anomaly
from tinygrad_cnn.autograd.engine import backward, grad
from tinygrad_cnn.autograd.graph import Node, Variable
from tinygrad_cnn.autograd.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from tinygrad_cnn.autograd.primitive import Primitive, Residuals, primitive

__all__ = [
    "Node",
    "Primitive",
    "Residuals",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "set_grad_enabled",
]
