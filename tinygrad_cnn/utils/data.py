"""What `tinygrad_cnn.data` has, where PyTorch has it."""

from tinygrad_cnn.data import *  # noqa: F403
from tinygrad_cnn.data import __all__ as __all__
