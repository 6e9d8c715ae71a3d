"""Optimizers, schedulers of their learning rates (`lr_scheduler`), and averages of weights (`swa_utils`)."""

from tinygrad_cnn.optim import lr_scheduler, swa_utils
from tinygrad_cnn.optim.adadelta import Adadelta
from tinygrad_cnn.optim.adagrad import Adagrad
from tinygrad_cnn.optim.adam import Adam, AdamW
from tinygrad_cnn.optim.nadam import NAdam
from tinygrad_cnn.optim.optimizer import Optimizer
from tinygrad_cnn.optim.rmsprop import RMSprop
from tinygrad_cnn.optim.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "RMSprop", "lr_scheduler", "swa_utils"]
