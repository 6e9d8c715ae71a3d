"""What lazy layers share: they learn the size of their input from the first input."""

from __future__ import annotations

from typing import Any, ClassVar

from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import Parameter, UninitializedParameter
from tinygrad_cnn.tensor import Tensor


class LazyModule(Module):
    """Mixed in before the class of an ordinary layer: its parameters get their shapes at the first forward pass.

    From then on the layer *is* the ordinary one: its class changes to `becomes`, and its parameters, which stay the
    same objects, become ordinary parameters.
    """

    becomes: ClassVar[type[Module]]

    def _infer(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        """Set the attributes that depend on the input; return the shape of each parameter by name."""
        raise NotImplementedError

    def _new_parameter(self, *shape: int, device: Any = None, dtype: Any = None) -> Parameter:
        return UninitializedParameter(device=device, dtype=dtype)

    def has_uninitialized_params(self) -> bool:
        """Whether some parameter has no shape yet."""
        return any(isinstance(parameter, UninitializedParameter) for parameter in self.parameters(recurse=False))

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters that need it their shapes and first values."""
        parameters = {name: (getattr(self, name), shape) for name, shape in self._infer(input).items()}
        loaded = []
        for parameter, shape in parameters.values():
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(shape)
            else:  # it came with a state dict
                loaded.append((parameter, parameter.data.copy()))
        if len(loaded) < len(parameters):
            self.reset_parameters()
        for parameter, values in loaded:
            parameter.data[...] = values

    def reset_parameters(self) -> None:
        """Draw new first values, as soon as there is something to draw."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]

    def forward(self, input: Tensor) -> Tensor:
        """Learn the sizes from the input, become the ordinary layer, and go on as one."""
        self.initialize_parameters(input)
        self.__class__ = self.becomes  # type: ignore[assignment]
        output: Tensor = self.forward(input)
        return output
