"""Averages of a model's weights over its training (SWA, EMA), and what goes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

from tinygrad_cnn.autograd import no_grad
from tinygrad_cnn.devices import check_cpu
from tinygrad_cnn.errors import check_float, check_int
from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.nn.batchnorm import _BatchNorm
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from tinygrad_cnn.optim.optimizer import Optimizer
from tinygrad_cnn.optim.rules import Array, Work, average
from tinygrad_cnn.tensor import Tensor

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average: TypeAlias = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage: TypeAlias = Callable[[list[Tensor], list[Tensor], Any], None]

# ------------------------------------------------------------------------------------------- averages


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the function of the exponential moving average: ``decay * averaged + (1 - decay) * current``.

    Parameters
    ----------
    decay : float, default 0.999
        How much of the average each update keeps, from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If `decay` is not a number of that range.
    """
    kept = check_float("get_ema_avg_fn", "decay", decay, 0, 1)
    return lambda averaged, current, num_averaged: kept * averaged + (1 - kept) * current


def get_swa_avg_fn() -> Average:
    """Return the function of the mean of all models: ``averaged + (current - averaged) / (num_averaged + 1)``."""
    return lambda averaged, current, num_averaged: averaged + (current - averaged) / (num_averaged + 1)


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """Return what `get_ema_avg_fn` does for whole lists of tensors, in place. Parameters and errors as there."""
    one = get_ema_avg_fn(decay)

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        _move(averaged, current, 1 - float(decay), lambda a, b: one(a, b, num_averaged))

    return update


def get_swa_multi_avg_fn() -> MultiAverage:
    """Return what `get_swa_avg_fn` does for whole lists of tensors, in place."""
    one = get_swa_avg_fn()

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        _move(averaged, current, 1 / (int(num_averaged) + 1), lambda a, b: one(a, b, num_averaged))

    return update


def _move(
    averaged: list[Tensor], current: list[Tensor], share: float, otherwise: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Move floating tensors by `share` of the way, in blocks and threads, and others to what `otherwise` says."""
    work = Work()
    for target, source in zip(averaged, current, strict=True):
        if target.dtype.kind == "f":
            work.add(_lerp, (target.data, source.data), share)
            target.bump_version()
        else:
            _assign(target, otherwise(target, source))
    work.finish()


def _lerp(temporaries: list[Array], mean: Array, new: Array, share: float) -> Iterator[Step]:
    return average(temporaries[0], mean, new, share)


def _assign(target: Tensor, value: Tensor) -> None:
    """Copy values; an integer tensor gets them without their fractions."""
    target.data[...] = value.data
    target.bump_version()


# ------------------------------------------------------------------------------------------- the model


class AveragedModel(Module):
    """A copy of a model whose weights are an average of the model's over its training.

    The first `update_parameters` copies the weights, each one after it averages: evenly (SWA) unless `avg_fn` or
    `multi_avg_fn` say otherwise. Called like the model itself. Its state dict holds ``n_averaged`` and ``module.*``,
    but not the functions.

    Parameters
    ----------
    model : Module
        What is copied; it may be trained further.
    device : optional
        ``"cpu"``.
    avg_fn : callable, optional
        ``avg_fn(averaged, current, num_averaged)`` returns the new average of one tensor.
    multi_avg_fn : callable, optional
        ``multi_avg_fn(averaged, current, num_averaged)`` updates a list of tensors in place: faster.
    use_buffers : bool, default False
        Average the buffers too, such as running statistics. They are copied otherwise, and `update_bn` can compute
        them for the averaged weights.

    Attributes
    ----------
    module : Module
        The averaged model.
    n_averaged : Tensor
        How many updates there have been.

    Raises
    ------
    ValueError
        If both functions are given.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged(tg.ones(1, 1)).item()
    3.0

    References
    ----------
    Izmailov, Podoprikhin, Garipov, Vetrov & Wilson, "Averaging weights leads to wider optima and better
    generalization", 2018.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: expects avg_fn or multi_avg_fn but got both")
        check_cpu("AveragedModel", device)
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", Tensor(0))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the weights of `model` into the average.

        Raises
        ------
        ValueError
            If `model` does not have as many parameters and buffers, of the same shapes. Nothing is changed then.
        """
        parameters = _pairs("parameters", self.module.parameters(), model.parameters())
        buffers = _pairs("buffers", self.module.buffers(), model.buffers())
        averaged = parameters + buffers if self.use_buffers else parameters
        if self.n_averaged == 0:
            for target, source in averaged:
                _assign(target, source)
        elif self.avg_fn is not None:
            for target, source in averaged:
                value = self.avg_fn(target, source, self.n_averaged)
                if not isinstance(value, Tensor):
                    raise TypeError(f"AveragedModel: avg_fn expects to return a Tensor but got {type(value).__name__}")
                _assign(target, value)
        else:
            average_all = self.multi_avg_fn or get_swa_multi_avg_fn()
            for dtype in {target.dtype: None for target, _ in averaged}:
                targets, sources = zip(*(pair for pair in averaged if pair[0].dtype == dtype), strict=True)
                average_all(list(targets), list(sources), self.n_averaged)
        if not self.use_buffers:
            for target, source in buffers:
                _assign(target, source)
        self.n_averaged += 1


def _pairs(kind: str, own: Iterable[Tensor], others: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pair this model's tensors with the other one's, all detached."""
    targets, sources = [t.detach() for t in own], [t.detach() for t in others]
    shapes, given = [t.shape for t in targets], [t.shape for t in sources]
    if shapes != given:
        raise ValueError(
            f"AveragedModel.update_parameters: model expects {kind} of the shapes {shapes} but has {given}"
        )
    return list(zip(targets, sources, strict=True))


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch normalisation layers anew, in one pass over the data.

    After that they are plain means over the batches, of the present weights: what averaged weights need.

    Parameters
    ----------
    loader : iterable
        Batches of inputs, or of tuples and lists that begin with the inputs.
    model : Module
        What they are given to, in training mode. The modes of its modules are restored.
    device : optional
        ``"cpu"``.
    """
    check_cpu("update_bn", device)
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    modes = [(module, module.training) for module in model.modules()]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    try:
        for batch in loader:
            model(batch[0] if isinstance(batch, tuple | list) else batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes:
            module.training = mode


# ------------------------------------------------------------------------------------------- the schedule


class SWALR(LRScheduler):
    """Bring the learning rate from where it is to `swa_lr`, and leave it there.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    swa_lr : float, or one for each group
        The last rate.
    anneal_epochs : int, default 10
        Steps to get there.
    anneal_strategy : "cos" or "linear"
        The shape of the way.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("SWALR", optimizer)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy expects 'cos' or 'linear' but got {anneal_strategy!r}")
        self.anneal_epochs = check_int("SWALR", "anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = anneal_strategy
        rates = per_group("SWALR", "swa_lr", swa_lr, optimizer.param_groups)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates that follow the present ones on the way to `swa_lr`."""
        step = self._step_count - 1 if self.anneal_epochs else max(1, self._step_count - 1)
        before, now = self._part(step - 1), self._part(step)
        rates = []
        for group in self._groups:
            last = group["swa_lr"]
            first = last if before == 1 else (group["lr"] - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates

    def _part(self, step: int) -> float:
        """Return which part of the way lies behind after so many steps."""
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def _take_over(self) -> None:
        # From wherever the scheduler before it has left the rates.
        self.last_epoch = -1
        self._begin()
