"""State dicts that fuzzing found to be refused with an undocumented error."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn import nn, optim, random

STATE = {"state": {}, "param_groups": [{"params": [0, 1]}]}


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        (None, "state_dict expects a dict with the keys 'state' and 'param_groups'"),
        ([], "state_dict expects a dict with the keys"),
        ({"state": {}}, "state_dict expects a dict with the keys"),
        ({"param_groups": []}, "state_dict expects a dict with the keys"),
        ({**STATE, "state": np.zeros(0)}, "state expects a dict of dicts"),
        ({**STATE, "state": {0: 3}}, "state expects a dict of dicts"),
        ({**STATE, "param_groups": 3}, "param_groups expects a list of dicts"),
        ({**STATE, "param_groups": [{}]}, "param_groups expects a list of dicts, each with a list 'params'"),
        ({**STATE, "param_groups": [{"params": 3}]}, "param_groups expects a list of dicts, each with a list 'params'"),
        ({**STATE, "param_groups": [{"params": [[], 1]}]}, "params expects the positions of parameters"),
    ],
)
def test_an_optimizers_state_that_is_none(state_dict, message):
    optimizer = optim.Adam(nn.Linear(2, 1).parameters())
    before = repr(optimizer)
    with pytest.raises(TypeError, match=rf"Adam\.load_state_dict: {message}"):
        optimizer.load_state_dict(state_dict)
    assert repr(optimizer) == before


def test_a_schedulers_state_that_is_none():
    scheduler = optim.lr_scheduler.StepLR(optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1), 3)
    with pytest.raises(TypeError, match=r"StepLR\.load_state_dict: expects a dict but got int"):
        scheduler.load_state_dict(3)
    with pytest.raises(ValueError, match="expects the keys"):
        scheduler.load_state_dict({"gamma": 1, 2: 3})


def test_a_generators_state_that_is_none():
    before = random.get_state()
    with pytest.raises(ValueError, match="set_state: state expects"):
        random.set_state({**before, "state": np.zeros(0)})
    assert random.get_state() == before
