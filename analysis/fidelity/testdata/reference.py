"""Known answers of known_test.go, from prdc, vendi-score, scipy and numpy.

pip install numpy scipy prdc==0.2 vendi-score==0.0.3; python reference.py >reference.json

The sets differ in size, which those of models/testdata/reference do not; their
rows come from a generator of whole numbers that the test repeats.
"""
import contextlib
import io
import json

import numpy as np
from prdc import compute_prdc
from scipy import linalg
from vendi_score import vendi


def rows(seed, n, d, add, by):
    """n rows of whole numbers in [-8, 8) plus add, times by, as float32."""
    out, x = [], seed
    for _ in range(n * d):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append((np.float32((x >> 40) % 16) + np.float32(add - 8)) * np.float32(by))
    return np.array(out, dtype=np.float32).reshape(n, d)


def prdc(x, y, k):
    with contextlib.redirect_stdout(io.StringIO()):
        r = compute_prdc(x, y, k)
    return {n: float(r[n]) for n in ("precision", "recall", "density", "coverage")}


def frechet(x, y):
    root = linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x, rowvar=False)) + np.trace(np.cov(y, rowvar=False)) - 2 * np.trace(root.real))


def kid(x, y):
    k = lambda a, b: (a @ b.T / x.shape[1] + 1) ** 3
    own = lambda a: (k(a, a).sum() - np.trace(k(a, a))) / len(a) / (len(a) - 1)
    return float(own(x) + own(y) - 2 * k(x, y).mean())


def cmmd(x, y):
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    k = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 200).mean()
    return float(1000 * (k(x, x) + k(y, y) - 2 * k(x, y)))


out = {"cases": []}
for real, generated in (((1, 40, 12, 0, 0.37), (2, 57, 12, 1, 0.37)), ((3, 150, 5, 0, 1.1), (4, 131, 5, 0, 1.0)), ((5, 60, 12, 0, 0.1), (6, 9, 12, 0.5, 0.11))):
    x, y = (rows(*a).astype(np.float64) for a in (real, generated))
    c = {"real": real, "generated": generated, "frechet": frechet(x, y), "kid": kid(x, y), "cmmd": cmmd(x, y), "vendi": float(vendi.score_dual(y))}
    c["k"] = {str(k): prdc(x, y, k) for k in (1, 3, 5)}
    out["cases"].append(c)
out["vendi"] = {
    "exponential": vendi.score([0, 0, 10, 10, 20, 20], lambda a, b: np.exp(-np.abs(a - b))),
    "matrix": vendi.score_K(np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])),
}
# Two sets of one normal distribution, means over draws and their standard errors.
r = np.random.default_rng(1)
n, d, k, draws = 400, 64, 5, 200
v = [prdc(r.normal(size=(n, d)), r.normal(size=(n, d)), k) for _ in range(draws)]
out["normal"] = {"n": n, "d": d, "k": k, "draws": draws} | {m: [float(np.mean([a[m] for a in v])), float(np.std([a[m] for a in v], ddof=1))] for m in v[0]}
print(json.dumps(out, indent=1))
