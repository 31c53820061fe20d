# Writes known.json: random ratings, and what the packages krippendorff 0.8.1 and crowd-kit 1.4.2 compute of them.
#   python3 -m venv venv && venv/bin/pip install krippendorff==0.8.1 crowd-kit==1.4.2
#   venv/bin/python known.py > known.json
import json

import krippendorff
import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene, MajorityVote

out = []
rng = np.random.default_rng(27)
for items, raters, categories, answers, wrong in ((40, 5, 2, 3, 0.15), (150, 5, 3, 4, 0.25), (60, 8, 2, 8, 0.3)):
    true = rng.integers(categories, size=items)
    ratings = []
    for item in range(items):
        for rater in rng.choice(raters, size=answers, replace=False):
            error = wrong * (0.4 + 1.2 * rater / (raters - 1))
            said = true[item]
            if rng.random() < error:
                said = (said + rng.integers(1, categories)) % categories
            ratings.append([int(item), int(rater), int(said)])
    grid = np.full((raters, items), np.nan)
    for item, rater, said in ratings:
        grid[rater, item] = said
    data = pd.DataFrame([{"task": i, "worker": r, "label": c} for i, r, c in ratings])
    model = DawidSkene(n_iter=20, tol=-1e9).fit(data)
    out.append({
        "items": items, "raters": raters, "categories": categories, "ratings": ratings,
        "alpha": krippendorff.alpha(reliability_data=grid, level_of_measurement="nominal"),
        "majority": {str(k): int(v) for k, v in MajorityVote().fit_predict(data).items()},
        "posterior": [[float(model.probas_.loc[i, c]) for c in range(categories)] for i in range(items)],
    })
print(json.dumps(out))
