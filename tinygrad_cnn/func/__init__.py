"""Functions of functions, as in `torch.func`: what takes a function of tensors and returns its derivative.

They take and return tensors, or dicts, lists and tuples of tensors (a model's parameters), and compose with each
other: the Hessian is the Jacobian of the Jacobian. None of them touches a ``.grad``.
"""

from tinygrad_cnn.func.jacobian import hessian, hvp, jacrev
from tinygrad_cnn.func.stateless import functional_call
from tinygrad_cnn.func.transforms import grad, grad_and_value, jvp, vjp

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "hvp", "jacrev", "jvp", "vjp"]
