"""The C structs of the kernels and how tensors become them. The caller keeps the tensors alive."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_float, c_int, c_int64, c_void_p

import torch
from torch import Tensor

FLOAT32, FLOAT16, INT8, INT4 = range(4)
GROUP = 32
"""Inputs that share a scale when a step's rows are rounded to 8 bits, and the least group of 4-bit weights."""

WIDEST_HEAD = 512


class Norm(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class Matrix(Structure):
    _fields_ = (("kind", c_int), ("n_in", c_int), ("n_out", c_int), ("groups_per_scale", c_int),
                ("weight", c_void_p), ("scale", c_void_p), ("bias", c_void_p))


class Layer(Structure):
    _fields_ = (("norm1", Norm), ("in_proj", Matrix), ("out_proj", Matrix),
                ("norm_cross", Norm), ("cross_q", Matrix), ("cross_out", Matrix),
                ("norm2", Norm), ("linear1", Matrix), ("linear2", Matrix))


class Model(Structure):
    _fields_ = (("width", c_int), ("heads", c_int), ("head_width", c_int), ("ffn", c_int), ("layers", c_int),
                ("outputs", c_int), ("eps", c_float), ("layer", POINTER(Layer)), ("out_norm", Norm), ("head", Matrix))


class Cache(Structure):
    _fields_ = (("floats", c_void_p), ("keys", c_void_p), ("values", c_void_p), ("key_scales", c_void_p),
                ("value_scales", c_void_p), ("cross", c_void_p))


class State(Structure):
    _fields_ = (("batch", c_int), ("columns", c_int), ("position", c_int), ("capacity", c_int),
                ("cross_length", c_int), ("cross_seen", c_void_p), ("cache", POINTER(Cache)))


class Convolution(Structure):
    _fields_ = (("batch", c_int), ("channels", c_int), ("outputs", c_int), ("taps", c_int), ("dilation", c_int),
                ("stride", c_int), ("samples", c_int), ("padding", c_int), ("weight", c_void_p), ("bias", c_void_p),
                ("x", c_void_p), ("y", c_void_p), ("x_batch", c_int64), ("x_row", c_int64), ("y_batch", c_int64),
                ("y_row", c_int64))


class Activation(Structure):
    _fields_ = (("x", c_void_p), ("y", c_void_p), ("row", c_int64), ("rows", c_int64), ("alpha", c_void_p),
                ("channels", c_int), ("per_row", c_int))


class Recurrent(Structure):
    _fields_ = (("batch", c_int), ("width", c_int), ("frames", c_int), ("weight", c_void_p), ("shares", c_void_p),
                ("h", c_void_p), ("c", c_void_p), ("out", c_void_p), ("frame", c_int))


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's numbers begin; None for none."""
    if tensor is None:
        return None
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError(f"a {tensor.device.type} tensor {list(tensor.shape)} with strides {tensor.stride()} came, "
                         "expected a contiguous one on the CPU")
    return tensor.data_ptr()


def float_matrix(weight: Tensor, bias: Tensor | None) -> Matrix:
    """Of `[out, in]` in float32 or float16, bias `[out]` float32."""
    kind = {torch.float32: FLOAT32, torch.float16: FLOAT16}[weight.dtype]
    return Matrix(kind, weight.shape[1], weight.shape[0], 1, address(weight), None, address(bias))


def norm_of(weight: Tensor, bias: Tensor) -> Norm:
    return Norm(address(weight), address(bias))
