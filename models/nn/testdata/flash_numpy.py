"""Computes programs on the CPU in which numpy computes what cuDNN's attention would, for TestFlashComputes.

    python flash_numpy.py WIDTH RESULTS PROGRAM...

WIDTH is that of a head. The inputs, which are bfloat16, are normal numbers, the same for all programs. RESULTS is JSON:
the arrays of each program.
"""
import ctypes
import json
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import ml_dtypes
import numpy as np
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib import _jax
from jaxlib.mlir import ir

bf16 = ml_dtypes.bfloat16


def sizes(config):
    c = json.loads(config)["cudnn_fmha_backend_config"]
    b, h, t, _ = map(int, c["intermediate_tensor_shape"]["dimensions"])
    return b, h, t, c["fmha_scale"]


def array(pointer, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)


def probabilities(q, k, scale):
    s = np.einsum("bthd,bshd->bhts", q, k) * scale
    top = s.max(-1, keepdims=True)
    e = np.exp(s - top)
    total = e.sum(-1, keepdims=True)
    return e / total, (top + np.log(total))[..., 0]


def call(f):
    """Returns f as XLA calls it."""

    def c(out, ins, config, length, _status):
        try:
            f(out, ins, *sizes(ctypes.string_at(config, length)), width)
        except BaseException as e:  # nothing may pass through XLA
            print("custom call:", repr(e), flush=True)
            os._exit(1)

    c = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)(c)
    kept.append(c)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return capsule(ctypes.cast(c, ctypes.c_void_p), b"xla._CUSTOM_CALL_TARGET", None)


kept = []  # XLA has only pointers to the functions
width = int(sys.argv[1])


def forward(out, ins, b, h, t, scale, d):
    q, k, v = (array(ins[i], (b, t, h, d), bf16).astype(np.float32) for i in range(3))
    p, logsum = probabilities(q, k, scale)
    # [B, H, T, D] lies as [B, T, H, D].
    array(out[0], (b, t, h, d), bf16)[:] = np.einsum("bhts,bshd->bthd", p, v)
    array(out[1], (b, h, t), np.float32)[:] = logsum


def backward(out, ins, b, h, t, scale, d):
    q, k, v = (array(ins[i], (b, t, h, d), bf16).astype(np.float32) for i in range(3))
    logsum = array(ins[3], (b, h, t), np.float32)
    dy, y = (array(ins[i], (b, t, h, d), bf16).astype(np.float32) for i in (4, 5))
    p = np.exp(np.einsum("bthd,bshd->bhts", q, k) * scale - logsum[..., None])
    dp = np.einsum("bthd,bshd->bhts", dy, v)
    ds = p * (dp - np.einsum("bthd,bthd->bht", dy, y)[..., None]) * scale
    for i, g in enumerate((np.einsum("bhts,bshd->bthd", ds, k), np.einsum("bhts,bthd->bshd", ds, q), np.einsum("bhts,bthd->bshd", p, dy))):
        array(out[i], (b, t, h, d), bf16)[:] = g


jax.ffi.register_ffi_target("__cudnn$fmhaSoftmax", call(forward), platform="cpu", api_version=0)
jax.ffi.register_ffi_target("__cudnn$fmhaSoftmaxBackward", call(backward), platform="cpu", api_version=0)
device = jax.devices("cpu")[0]
results = []
for path in sys.argv[3:]:
    context = mlir.make_ir_context()
    with context, ir.Location.unknown(context):
        # XLA on the CPU hands over the configuration in this version only.
        module = ir.Module.parse(open(path).read().replace("api_version = 2 : i32", "api_version = 3 : i32"))
        main = ir.SymbolTable(module.operation)["main"]
        shapes = [ir.RankedTensorType(t).shape for t in ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value).inputs]
        loaded = device.client.compile_and_load(module, _jax.DeviceList((device,)), compiler.get_compile_options(num_replicas=1, num_partitions=1), [])
    random = np.random.default_rng(1)
    args = [jax.device_put(random.normal(size=s).astype(bf16), device) for s in shapes]
    results.append([np.asarray(x).astype(float).ravel().tolist() for x in loaded.execute(args)])
json.dump(results, open(sys.argv[2], "w"))
