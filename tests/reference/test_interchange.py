"""Tensors handed to PyTorch and back: through .safetensors files, and through DLPack without a copy."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.creation import from_dlpack

torch = pytest.importorskip("torch")


def layers(library):
    return library.Sequential(library.Conv2d(1, 4, 3), library.BatchNorm2d(4), library.Flatten(), library.Linear(16, 3))


def same(ours, theirs) -> bool:
    return list(ours) == list(theirs) and all(
        np.array_equal(a.numpy(), b.numpy()) and a.shape == tuple(b.shape)
        for a, b in zip(ours.values(), theirs.values(), strict=True)
    )


class TestSafetensors:
    def test_pytorch_reads_what_is_written_here(self, tmp_path):
        files = pytest.importorskip("safetensors.torch")
        ours, theirs = layers(nn), layers(torch.nn)
        tg.save(ours.state_dict(), tmp_path / "m.safetensors")
        theirs.load_state_dict(files.load_file(tmp_path / "m.safetensors"))
        assert same(ours.state_dict(), theirs.state_dict())

    def test_what_pytorch_writes_is_read_here(self, tmp_path):
        files = pytest.importorskip("safetensors.torch")
        ours, theirs = layers(nn), layers(torch.nn)
        files.save_file(theirs.state_dict(), tmp_path / "m.safetensors")
        ours.load_state_dict(tg.load(tmp_path / "m.safetensors"))
        assert same(ours.state_dict(), theirs.state_dict())

    def test_bfloat16_keeps_its_values(self, tmp_path):
        files = pytest.importorskip("safetensors.torch")
        values = torch.randn(100).bfloat16()
        files.save_file({"w": values}, tmp_path / "m.safetensors")
        assert tg.load(tmp_path / "m.safetensors")["w"].tolist() == values.float().tolist()


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


class TestDLPack:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_pytorch_sees_our_memory(self, dtype):
        ours = tg.tensor(np.arange(6).reshape(2, 3).T.astype(dtype))
        theirs = torch.from_dlpack(ours)
        assert (tuple(theirs.shape), str(theirs.dtype)) == (ours.shape, f"torch.{dtype}")
        theirs[0, 1] = 1
        assert ours[0, 1].item() == 1
        assert theirs.data_ptr() == ours.data.ctypes.data

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_we_see_pytorchs_memory(self, dtype):
        theirs = torch.arange(6).reshape(2, 3).T.to(getattr(torch, dtype))
        ours = from_dlpack(theirs)
        assert (ours.shape, str(ours.dtype)) == (tuple(theirs.shape), dtype)
        theirs[0, 1] = 1
        assert ours[0, 1].item() == 1
        with tg.no_grad():
            ours.fill_(0)
        assert not theirs.any()

    def test_a_tensor_that_requires_a_gradient_refuses_as_pytorchs_does(self):
        for refusing in (tg.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)):
            for take in (torch.from_dlpack, np.from_dlpack, from_dlpack):
                with pytest.raises(BufferError, match="detach"):
                    take(refusing)

    def test_copies_on_demand(self):
        ours = tg.zeros(3)
        torch.from_dlpack(ours, copy=True)[0] = 5
        theirs = torch.zeros(3)
        from_dlpack(theirs, copy=True).data[0] = 5
        assert not ours.data.any()
        assert not theirs.any()

    def test_dtypes_that_tensors_lack(self):
        for dtype in (torch.bfloat16, torch.complex64, torch.uint32):
            with pytest.raises(BufferError, match="from_dlpack"):
                from_dlpack(torch.zeros(2, dtype=dtype))

    def test_memory_outlives_the_one_who_made_it(self):
        assert from_dlpack(torch.full((1000,), 7.0)).data.sum() == 7000
        assert torch.from_dlpack(tg.full((1000,), 7.0)).sum() == 7000
