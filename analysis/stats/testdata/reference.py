"""Reference values of reference_test.go, from scipy and statsmodels.

pip install scipy==1.17.1 statsmodels==0.14.6 numpy; python reference.py >reference.json
"""
import json

import numpy as np
import statsmodels.api as sm
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups
from statsmodels.stats.weightstats import DescrStatsW

r = np.random.default_rng(7)
out = {}
x = [0.61, 0.58, 0.64, 0.55]
out["student"] = {"x": x, "interval": list(stats.t.interval(0.95, 3, loc=np.mean(x), scale=stats.sem(x)))}
out["ttest"] = {"x": x, "against": 0.5, "p": stats.ttest_1samp(x, 0.5).pvalue, "above": stats.ttest_1samp(x, 0.5, alternative="greater").pvalue}
out["wilson"] = [
    {"good": g, "n": n, "interval": list(stats.binomtest(g, n).proportion_ci(0.95, method="wilson"))}
    for g, n in ((47, 100), (0, 20), (20, 20), (999, 1000))
]
p = [0.01, 0.04, 0.03, 0.005, 0.6, 0.011]
out["holm"] = {"p": p, "adjusted": list(multipletests(p, method="holm")[1])}
d = [0.004, -0.002, 0.007, 0.001, -0.003]
out["tost"] = {"x": d, "margin": 0.01, "p": DescrStatsW(d).ttost_mean(-0.01, 0.01)[0]}
out["power"] = [
    {"delta": delta, "sd": sd, "n": n, "power": TTestPower().power(delta / sd, n, 0.05)}
    for delta, sd, n in ((0.05, 0.04, 3), (0.05, 0.04, 8), (0.02, 0.04, 20), (0.1, 0.03, 4))
]
out["needed"] = [
    {"delta": delta, "sd": sd, "n": int(np.ceil(TTestPower().solve_power(delta / sd, power=0.8, alpha=0.05)))}
    for delta, sd in ((0.05, 0.04), (0.02, 0.04), (0.01, 0.05))
]
out["trigamma"] = [{"x": v, "y": float(special.polygamma(1, v))} for v in (0.1, 0.5, 1, 2.5, 30)]

# Two-way clustered errors (Cameron, Gelbach & Miller) of a mean: seeds x prompts.
seeds, prompts, images = 5, 40, 6
effect = r.normal(size=prompts)[None, :, None] + 0.5 * r.normal(size=seeds)[:, None, None]
y = effect + r.normal(size=(seeds, prompts, images))
s, q = (a.ravel() for a in np.meshgrid(np.arange(seeds), np.arange(prompts), indexing="ij"))
s, q = np.repeat(s, images), np.repeat(q, images)
fit = sm.OLS(y.ravel(), np.ones(y.size)).fit()
both, by_seed, by_prompt = (float(np.squeeze(v)) for v in cov_cluster_2groups(fit, s, q, use_correction=False))
cell = float(np.squeeze(cov_cluster(fit, s * prompts + q, use_correction=False)))
out["clusters"] = {
    "sums": y.sum(2).tolist(), "images": images,
    "shared": both - by_seed, "seeds": by_seed, "prompts": by_prompt, "cells": cell,
}
# Crossed random effects: mean squares of a two-way table without replication.
k = 4
t = r.normal(size=(k, 1)) + 0.5 * r.normal(size=(1, k)) + 0.3 * r.normal(size=(k, k))
res = t - t.mean(1, keepdims=True) - t.mean(0, keepdims=True) + t.mean()
out["crossed"] = {
    "x": t.tolist(),
    "variance": float(t.mean(1).var(ddof=1) / k + t.mean(0).var(ddof=1) / k - (res**2).sum() / (k - 1) ** 2 / k**2),
}
# Moderated variances: the rule of Moderate, written again.
sd = np.array([0.02, 0.05, 0.011, 0.09, 0.03, 2.0])
df = np.array([2, 2, 4, 4, 7, 2.0])
e = np.log(sd**2) - special.digamma(df / 2) + np.log(df / 2)
m, share, chance = len(e), 0.15, special.polygamma(1, df / 2).mean()
between = e.var(ddof=1) / (1 - share) - chance
from scipy.optimize import brentq
half = brentq(lambda v: float(special.polygamma(1, v)) - between, 1e-6, 1e6, xtol=1e-14)
prior = 1 / (1 / (2 * half) + chance * (1 + (m - 2) * share) / (2 * (m - 1)))
common = np.exp(e.mean())
apart = sd**2 > common * stats.f.ppf(0.99, df, prior)
out["moderate"] = {
    "sd": sd.tolist(), "df": df.tolist(),
    "moderated": np.where(apart, sd, np.sqrt((prior * common + df * sd**2) / (prior + df))).tolist(),
    "total": np.where(apart, df, prior + df).tolist(),
}
out["clopper"] = [
    {"good": g, "n": n, "interval": list(stats.binomtest(g, n).proportion_ci(0.95, method="exact"))}
    for g, n in ((0, 3), (1, 3), (3, 3), (4, 20))
]
# Haldane's logit and its variance for 7 of 50.
out["logit"] = {"k": 7, "n": 50, "y": float(np.log(7.5 / 43.5)), "variance": 1 / 7.5 + 1 / 43.5}
print(json.dumps(out, indent=1))
