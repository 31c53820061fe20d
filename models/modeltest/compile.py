"""Compiles a program in StableHLO for a GPU that this machine does not have.

    python compile.py GPU.txtpb PROGRAM ANSWER

ANSWER is JSON: the memory in bytes that XLA plans, and the text of the compiled module. Autotuning needs the
GPU, and is off.
"""
import json
import os
import pathlib
import sys
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false --xla_gpu_disable_gpuasm_optimizations=true"
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib import _jax
from jax.experimental import topologies
from jaxlib.mlir import ir

gpu, program, answer = map(pathlib.Path, sys.argv[1:])
device = topologies.get_topology_desc("", "cuda", target_config=gpu.read_text(), topology="1x1x1").devices[0]
begin = time.time()
context = mlir.make_ir_context()
with context, ir.Location.unknown(context):
    module = ir.Module.parse(program.read_text())
    module.operation.verify()
    options = compiler.get_compile_options(num_replicas=1, num_partitions=1)
    compiled = device.client.compile(module, _jax.DeviceList((device,)), options)
m = compiled.get_compiled_memory_stats()
answer.write_text(json.dumps({
    "seconds": time.time() - begin, "inputs": m.argument_size_in_bytes, "outputs": m.output_size_in_bytes,
    "aliased": m.alias_size_in_bytes, "temporary": m.temp_size_in_bytes, "text": compiled.hlo_modules()[0].to_string()}))
