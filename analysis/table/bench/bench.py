"""The same as main.go, in pandas and numpy. Prints its seconds, imports left
out, and then the means and standard errors as JSON."""
import json
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.feather  # noqa: F401 (imported before the clock starts, for pandas reads with it)

begin = time.perf_counter()
trials = pd.read_feather(sys.argv[1] + "/trials.arrow")
samples = pd.read_feather(sys.argv[1] + "/samples.arrow", columns=["trial", "prompt", "category", "verdict"])
code, ids = pd.factorize(samples["trial"])
arm = trials.set_index("trial")["arm"].reindex(ids).to_numpy()
arm_code, arms = pd.factorize(arm)
category, categories = pd.factorize(samples["category"])
prompt, prompts = pd.factorize(samples["prompt"])
group = arm_code[code] * len(categories) + category
cell = group * len(prompts) + prompt
size = len(arms) * len(categories) * len(prompts)
good = (samples["verdict"] == "good").to_numpy()
shape = (len(arms) * len(categories), len(prompts))
counts = np.bincount(cell, minlength=size).reshape(shape).astype(float)
sums = np.bincount(cell, weights=good, minlength=size).reshape(shape)
weights = np.random.default_rng(1).multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), size=1000).astype(float)
means = (weights @ sums.T) / (weights @ counts.T)
out = {
    f"{arms[g // len(categories)]} {categories[g % len(categories)]}": [sums[g].sum() / counts[g].sum(), means[:, g].std(ddof=1)]
    for g in range(shape[0])
}
print(time.perf_counter() - begin)
print(json.dumps(out))
