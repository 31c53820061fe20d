"""Reference values of diff_test.go, from scipy and statsmodels.

pip install scipy==1.17.1 statsmodels==0.14.6 numpy; python diff.py >diff.json
"""
import json

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

IMAGES = 1000
# Shares of images by seed, of two rows and two metrics.
alignment = {"a": [0.52, 0.61, 0.57, 0.66], "b": [0.44, 0.58, 0.47, 0.55]}
recall = {"a": [0.91, 0.86, 0.93, 0.88], "b": [0.93, 0.90, 0.92, 0.94]}
more = [0.50, 0.46, 0.53, 0.59, 0.41]  # seeds of another b


def logit(x):
    k = np.asarray(x) * IMAGES
    return np.log((k + 0.5) / (IMAGES - k + 0.5))


def share(y):
    return ((IMAGES + 1) / (1 + np.exp(-y)) - 0.5) / IMAGES


def units(y, base):
    """A difference on the scale in shares, from base."""
    return float(share(base + y) - share(base))


def widened(y, se, low, high, base, se_base, q, r):
    """The interval of a difference in shares, with the error of the reference (Zou 2007): two
    estimates with errors that correlate by r. Its bounds keep the signs of those on the
    scale."""
    mean, lo, hi = units(y, base), units(low, base), units(high, base)
    b = (base - q * se_base, base + q * se_base)
    at = (units(y, b[0]), units(y, b[1]))
    r = max(0, -r if at[1] < at[0] else r)

    def both(p, s):
        return min(p + s, np.sqrt(p * p + s * s + 2 * r * p * s))

    return (max(mean - both(mean - lo, max(0, mean - min(at))), min(lo, units(low, b[0]), units(low, b[1]))),
            min(mean + both(hi - mean, max(0, max(at) - mean)), max(hi, units(high, b[0]), units(high, b[1]))))


def case(a, b, paired):
    x, y = logit(a), logit(b)
    t = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    base = y.mean()
    df = t.df if len(a) == len(b) else min(len(a), len(b)) - 1
    se = (x.mean() - base) / t.statistic
    low, high = stats.t.interval(0.95, df, loc=x.mean() - base, scale=abs(se))
    # The error of the level is not taken for less than that of independent images.
    k = np.asarray(b) * IMAGES
    images = (1 / (k + 0.5) + 1 / (IMAGES - k + 0.5)).sum() / len(b) ** 2
    se_base = np.sqrt(max(stats.sem(y) ** 2, images))
    r = np.corrcoef(x - y, y)[0, 1] if paired else -se_base / abs(se)
    low, high = widened(x.mean() - base, se, low, high, base, se_base, stats.t.ppf(0.975, len(b) - 1), r)
    return {"a": list(a), "b": list(b), "meanA": float(share(x.mean())), "meanB": float(share(base)), "mean": units(x.mean() - base, base),
            "low": float(low), "high": float(high), "p": float(2 * stats.t.sf(abs(t.statistic), df))}


out = {"images": IMAGES, "paired": [case(m["a"], m["b"], True) for m in (alignment, recall)],
       "welch": [case(m["a"], m["b"], False) for m in (alignment, recall)], "unequal": case(alignment["a"], more, False)}
for name in ("paired", "welch"):
    for c, p in zip(out[name], multipletests([c["p"] for c in out[name]], method="holm")[1]):
        c["pCorrected"] = float(p)
print(json.dumps(out, indent=1))
