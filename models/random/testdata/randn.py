"""Writes randn.json beside this file: what torch.randn gives for some seeds, twice in a row, and what a
generator gives for other calls."""
import json
from pathlib import Path

import torch

cases = []
for seed, size in ((0, 16), (1, 1024), (12345, 100), (2**40 + 5, 37), (9223372036854775807, 20000)):
    generator = torch.Generator("cpu").manual_seed(seed)
    draws = [torch.randn(size, generator=generator) for _ in range(2)]
    cases.append({"seed": seed, "size": size, "first": [x[:20].tolist() for x in draws], "last": [x[-20:].tolist() for x in draws],
                  "sum": [x.double().sum().item() for x in draws]})
generator = torch.Generator("cpu").manual_seed(7)
mixed = {"randn": [torch.randn(n, generator=generator).tolist() for n in (5, 1, 2)], "rand": torch.rand(9, generator=generator).tolist(),
         "randperm": [torch.randperm(n, generator=generator).tolist() for n in (1, 2, 10, 300)], "after": torch.randn(3, generator=generator).tolist()}
Path(__file__).with_suffix(".json").write_text(json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases, "mixed": mixed}, indent=1) + "\n")
