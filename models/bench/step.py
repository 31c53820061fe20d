"""The benchmark's computations in JAX: the same arithmetic as the Go side, to the last matrix product.

    step.py FILE CASE LAYERS HEADS

Reads the weights and inputs that the Go side wrote, prints the first results, and then, for every line "N" on stdin,
does the computation N times and prints the seconds that they took: those of the clock, and those of the CPU.
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
        out[k] = np.frombuffer(raw[8 + n + a : 8 + n + b], "<f4").reshape(e["shape"]).copy()
    return out


def below(prefix):
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


tensors = load(sys.argv[1])
case, layers, heads = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
params = below("param.")
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


def attention(q, k, v):
    b, t, h, n = q.shape
    s = jax.nn.softmax(jnp.einsum("bqhk,bthk->bhqt", q, k) / np.float32(np.sqrt(n)), -1)
    return jnp.einsum("bhqt,bthk->bqhk", s, v).reshape(b, t, h * n)


freq = np.exp(-np.log(10000) * np.arange(32) / 32).astype(np.float32)


def denoise(w, x, t, cond):
    b = x.shape[0]
    h = x.reshape(b, 2, 8, 2, 24).transpose(0, 1, 3, 2, 4).reshape(b, 4, 192)
    h = linear(w, "patch_embed", h) + w["position"]
    a = (t * 1000)[:, None] * freq
    c = linear(w, "time.1", silu(linear(w, "time.0", jnp.concatenate([jnp.cos(a), jnp.sin(a)], -1))))
    c = silu(c + linear(w, "text", cond))
    for i in range(layers):
        p = f"blocks.{i}."
        m = jnp.split(linear(w, p + "modulation", c)[:, None], 6, -1)
        a = norm(h) * (1 + m[1]) + m[0]
        qkv = linear(w, p + "attention.qkv", a).reshape(b, 4, 3, heads, width // heads)
        a = attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
        h = h + m[2] * linear(w, p + "attention.out", a)
        f = norm(h) * (1 + m[4]) + m[3]
        h = h + m[5] * linear(w, p + "mlp.1", gelu(linear(w, p + "mlp.0", f)))
    m = jnp.split(linear(w, "modulation", c)[:, None], 2, -1)
    h = linear(w, "out", norm(h) * (1 + m[1]) + m[0])
    return h.reshape(b, 2, 2, 8, 24).transpose(0, 1, 3, 2, 4).reshape(b, 16, 16, 3)


def encode(w, words):
    return linear(w, "text_encoder.out", silu(linear(w, "text_encoder.embed", words)))


def wide(t):
    return t[:, None, None, None]


def noisy(i):
    return (1 - wide(i["time"])) * i["x0"] + wide(i["time"]) * i["noise"]


def pixels(x):
    return x.mean((1, 2, 3))


def weighted(prediction, target, t):
    """The denoising loss, float32[B]."""
    return pixels((prediction - target) ** 2) / jnp.maximum(t, 0.5) ** 2


def pretraining(w, sets, i):
    return (i["weight"] * weighted(denoise(w, noisy(i), i["time"], encode(w, i["cond"])), i["x0"], i["time"])).sum()


def likelihood(w, sets, i):
    return (i["weight"] * weighted(denoise(w, noisy(i), i["time"], i["cond"]), i["x0"], i["time"])).sum()


def both(w, sets, i):
    """Predictions of the model and of the reference, and the model's weighted likelihood."""
    x, t = noisy(i), i["time"]
    a = denoise(w, x, t, i["cond"])
    b = jax.lax.stop_gradient(denoise(sets["reference"], x, t, i["cond"]))
    return a, b, (i["weight"] * weighted(a, i["x0"], t)).sum()


def dpo(w, sets, i):
    a, b, l = both(w, sets, i)
    n = a.shape[0] // 2
    margin = lambda p: (lambda l: l[:n] - l[n:])(weighted(p, i["x0"], i["time"]))
    return l + jax.nn.softplus(0.5 * i["beta"] * (margin(a) - margin(b))).mean()


def nft(w, sets, i):
    a, b, l = both(w, sets, i)

    def part(sign):
        x = b + sign * i["beta"] * (a - b)
        scale = jnp.maximum(pixels(jnp.abs(jax.lax.stop_gradient(x) - i["x0"])), 1e-5)
        return pixels((x - i["x0"]) ** 2) / scale

    r = i["advantage"]
    return l + (i["anchor"] * weighted(a, b, i["time"])).sum() + 5 * ((r * part(1) + (1 - r) * part(-1)) / i["beta"]).mean()


def unit(x):
    return x / jnp.sqrt((x * x).sum(-1, keepdims=True) + 1e-12)


def score(w, images, words):
    e = {k[9:]: v for k, v in w.items() if k.startswith("embedder.")}
    m = {k[9:]: v for k, v in w.items() if k.startswith("member 0.")}
    relu = lambda x: jnp.maximum(x, 0)
    h = images
    for k, stride in enumerate((2, 1, 2)):
        n = f"image.conv{k}"
        h = jax.lax.conv_general_dilated(h, e[n + ".weight"], (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
        h = relu(h + e[n + ".bias"])
    image = unit(linear(e, "image.out", relu(linear(e, "image.hidden", h.reshape(h.shape[0], -1)))))
    text = unit(linear(e, "text.out", relu(linear(e, "text.hidden", words))))
    s = np.float32(np.sqrt(image.shape[1]))
    h = jnp.concatenate([image * s, text * s, image * text * (s * s)], -1)
    return jax.nn.sigmoid(linear(m, "mlp.2", relu(linear(m, "mlp.1", relu(linear(m, "mlp.0", h)))))[:, 0])


def euler(w, x, t, after, cond):
    prediction = denoise(w, x, jnp.full(x.shape[:1], t), cond)
    return x - (x - prediction) / t * (t - after)


def draft(w, sets, i):
    x = euler(w, i["state"], i["times"][0], i["times"][1], i["cond"])
    return -score(sets["reward"], jnp.clip(x, -1, 1), i["text"]).mean()


def training(loss, averaged):
    """A training step, and the losses of the first ten."""
    sets = jax.tree.map(jnp.array, {k: below(f"set.{k}.") for k in ("reference", "reward")})
    batches = [below(f"batch.{i}.") for i in range(10)]
    hyper = np.concatenate([tensors["hyper"], np.zeros(2, np.float32)])

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def step(p, m, v, avg, sets, h, batch):
        l, g = jax.value_and_grad(loss)(p, sets, batch)
        n = jnp.sqrt(sum((x * x).sum() for x in jax.tree.leaves(g)))
        s = h[5] / jnp.maximum(n, h[5])
        t = jax.tree.map
        g = t(lambda x: x * s, g)
        m = t(lambda m, g: h[1] * m + (1 - h[1]) * g, m, g)
        v = t(lambda v, g: h[2] * v + (1 - h[2]) * g * g, v, g)
        p = t(lambda p, m, v: p - h[0] * (m * h[7] / (jnp.sqrt(v * h[8]) + h[3]) + h[4] * p), p, m, v)
        if averaged:
            avg = t(lambda a, p: h[6] * a + (1 - h[6]) * p, avg, p)
        return p, m, v, avg, l, n

    p = jax.tree.map(jnp.array, params)
    avg = jax.tree.map(jnp.array, params) if averaged else None
    state = [p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p), avg]
    count = 0

    def take(i):
        nonlocal count
        count += 1
        h = hyper.copy()
        h[7], h[8] = 1 / (1 - float(h[1]) ** count), 1 / (1 - float(h[2]) ** count)
        *state[:], l, n = step(*state, sets, h, batches[i % 10])
        return float(l), float(n)

    return [take(i)[0] for i in range(10)], take


def probe():
    """A probe, and its distance and nine images."""
    reference = below("set.reference.")

    @functools.partial(jax.jit, donate_argnums=1)
    def sample(w, x, t, cond):
        return euler(w, x, t[0], t[1], cond)

    @jax.jit
    def compare(w, base, x0, noise, t, cond, other):
        x = (1 - wide(t)) * x0 + wide(t) * noise
        a, b = denoise(w, x, t, cond), denoise(base, x, t, other)
        return pixels((a - b) ** 2), weighted(a, x0, t) - weighted(b, x0, t)

    encoder = jax.jit(encode)
    grid = tensors["grid"]
    rng = np.random.default_rng(1)

    def take(_):
        w, base = jax.device_put(params), jax.device_put(reference)
        cond, other = encoder(w, tensors["words"]), encoder(base, tensors["words"])
        x = jnp.array(tensors["noise"])
        for k in range(len(grid) - 1):
            x = sample(w, x, grid[k : k + 2], cond)
        images, total = np.asarray(x), 0.0
        for t, weight, noise in zip(tensors["distance.times"], tensors["distance.weights"], tensors["distance.noise"]):
            rng.standard_normal(noise.shape, dtype=np.float32)  # Go draws its noise here; the same numbers are read from the file
            apart, gap = compare(w, base, images, noise, t, cond, other)
            total += float(np.asarray(apart, np.float64) @ weight.astype(np.float64))
            np.asarray(gap)
        return total, images

    total, images = take(0)
    return [total] + [float(np.abs(x.astype(np.float64)).mean()) for x in images[:9]], take


first, take = probe() if case == "probe" else training(globals()[case], case == "pretraining")
print(json.dumps(first), flush=True)
for line in sys.stdin:
    n = int(line)
    start, used = time.perf_counter(), time.process_time()
    for i in range(n):
        take(i)
    print(json.dumps([time.perf_counter() - start, time.process_time() - used]), flush=True)
