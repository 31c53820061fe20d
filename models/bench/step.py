"""The training step of the shapes model in JAX: the same arithmetic as the Go side, to the last matmul.

Reads the initial weights and ten batches that the Go side wrote, prints the ten losses, and then, for every line
"N" on stdin, takes N steps and prints the seconds they took.
"""
import functools, json, struct, sys, time

import jax
import jax.numpy as jnp
import numpy as np


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + n])
    head.pop("__metadata__", None)
    out = {}
    for k, e in head.items():
        a, b = e["data_offsets"]
        out[k] = np.frombuffer(raw[8 + n + a : 8 + n + b], "<f4").reshape(e["shape"])
    return out


tensors = load(sys.argv[1])
layers, heads = int(sys.argv[2]), int(sys.argv[3])
params = {k[6:]: v for k, v in tensors.items() if k.startswith("param.")}
hyper = tensors["hyper"]
batches = [[tensors[f"batch.{i}.{k}"] for k in ("x0", "eps", "t", "words", "c")] for i in range(10)]
width = params["position"].shape[1]


def linear(w, n, x):
    return jax.lax.dot_general(x, w[n + ".weight"], (((x.ndim - 1,), (1,)), ((), ()))) + w[n + ".bias"]


def norm(x):
    d = x - x.mean(-1, keepdims=True)
    return d * (1 / jnp.sqrt((d * d).mean(-1, keepdims=True) + 1e-6))


def silu(x):
    return x * jax.nn.sigmoid(x)


def gelu(x):
    return x * 0.5 * (1 + jnp.tanh((x + 0.044715 * x * x * x) * np.float32(np.sqrt(2 / np.pi))))


freq = np.exp(-np.log(10000) * np.arange(32) / 32).astype(np.float32)


def denoise(w, x, t, text):
    b = x.shape[0]
    h = x.reshape(b, 2, 8, 2, 24).transpose(0, 1, 3, 2, 4).reshape(b, 4, 192)
    h = linear(w, "patch_embed", h) + w["position"]
    a = (t * 1000)[:, None] * freq
    c = linear(w, "time.1", silu(linear(w, "time.0", jnp.concatenate([jnp.cos(a), jnp.sin(a)], -1))))
    c = silu(c + linear(w, "text", text))
    for i in range(layers):
        p = f"blocks.{i}."
        m = jnp.split(linear(w, p + "modulation", c)[:, None], 6, -1)
        a = norm(h) * (1 + m[1]) + m[0]
        qkv = linear(w, p + "attention.qkv", a).reshape(b, 4, 3, heads, width // heads)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        s = jax.nn.softmax(jnp.einsum("bqhk,bthk->bhqt", q, k) / np.float32(np.sqrt(width // heads)), -1)
        a = jnp.einsum("bhqt,bthk->bqhk", s, v).reshape(b, 4, width)
        h = h + m[2] * linear(w, p + "attention.out", a)
        f = norm(h) * (1 + m[4]) + m[3]
        h = h + m[5] * linear(w, p + "mlp.1", gelu(linear(w, p + "mlp.0", f)))
    m = jnp.split(linear(w, "modulation", c)[:, None], 2, -1)
    h = linear(w, "out", norm(h) * (1 + m[1]) + m[0])
    return h.reshape(b, 2, 2, 8, 24).transpose(0, 1, 3, 2, 4).reshape(b, 16, 16, 3)


def loss(w, x0, eps, t, words, c):
    tt = t[:, None, None, None]
    text = linear(w, "text_encoder.out", silu(linear(w, "text_encoder.embed", words)))
    l = ((denoise(w, (1 - tt) * x0 + tt * eps, t, text) - x0) ** 2).mean((1, 2, 3)) / jnp.maximum(t, 0.5) ** 2
    return (c * l).sum()


@functools.partial(jax.jit, donate_argnums=(0, 1, 2, 3))
def step(p, m, v, avg, h, *batch):
    l, g = jax.value_and_grad(loss)(p, *batch)
    n = jnp.sqrt(sum((x * x).sum() for x in jax.tree.leaves(g)))
    s = h[5] / jnp.maximum(n, h[5])
    t = jax.tree.map
    g = t(lambda x: x * s, g)
    m = t(lambda m, g: h[1] * m + (1 - h[1]) * g, m, g)
    v = t(lambda v, g: h[2] * v + (1 - h[2]) * g * g, v, g)
    p = t(lambda p, m, v: p - h[0] * (m * h[7] / (jnp.sqrt(v * h[8]) + h[3]) + h[4] * p), p, m, v)
    avg = t(lambda a, p: h[6] * a + (1 - h[6]) * p, avg, p)
    return p, m, v, avg, l, n


p, avg = jax.tree.map(jnp.array, params), jax.tree.map(jnp.array, params)
m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
count = 0


def take(batch):
    global p, m, v, avg, count
    count += 1
    h = hyper.copy()
    h[7], h[8] = 1 / (1 - float(h[1]) ** count), 1 / (1 - float(h[2]) ** count)
    p, m, v, avg, l, n = step(p, m, v, avg, h, *batch)
    return float(l), float(n)


print(json.dumps([take(b)[0] for b in batches]), flush=True)
for line in sys.stdin:
    n = int(line)
    start = time.perf_counter()
    for i in range(n):
        take(batches[i % 10])
    print(time.perf_counter() - start, flush=True)
