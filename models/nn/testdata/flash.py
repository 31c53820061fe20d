"""Writes flash.json: how JAX calls cuDNN's attention, forward and backward, for TestFlash.

    python3 -m venv ENV && ENV/bin/pip install "jax[cuda12]" && ENV/bin/python flash.py > flash.json

It needs no GPU: it lowers for the one that models/modeltest/h100.txtpb describes.
"""
import json
import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from jaxlib.mlir import ir

description = pathlib.Path(__file__).parents[2] / "modeltest" / "h100.txtpb"
device = topologies.get_topology_desc("", "cuda", target_config=description.read_text(), topology="1x1x1").devices[0]


def attention(q, k, v, d):
    y, gradient = jax.vjp(lambda q, k, v: jax.nn.dot_product_attention(q, k, v, implementation="cudnn"), q, k, v)
    return y, gradient(d)


x = jax.ShapeDtypeStruct((2, 1024, 8, 80), jnp.bfloat16, sharding=SingleDeviceSharding(device))
module = jax.jit(attention).trace(x, x, x, x).lower(lowering_platforms=("cuda",)).compiler_ir()
calls = []


def visit(op):
    if op.name == "stablehlo.custom_call":
        a = op.attributes
        calls.append({
            "target": ir.StringAttr(a["call_target_name"]).value,
            "config": json.loads(ir.StringAttr(a["backend_config"]).value),
            "api_version": str(a["api_version"]),
            "operand_layouts": str(a["operand_layouts"]), "result_layouts": str(a["result_layouts"]),
            "operands": [str(v.type) for v in op.operands], "results": [str(v.type) for v in op.results]})
    return ir.WalkResult.ADVANCE


module.operation.walk(lambda op: visit(op.operation))
print(json.dumps({"jax": jax.__version__, "calls": calls}, indent=1))
