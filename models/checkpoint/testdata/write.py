"""Writes a tensor of every type of NumPy's with Python's own safetensors; its values are -3 to 2 (or 0 and 1).

    python write.py FILE
"""
import sys

import numpy as np
from safetensors.numpy import save_file

x = np.arange(6).reshape(2, 3)
tensors = {n: (x - 3).astype(n) for n in ("float64", "float32", "float16", "int64", "int32", "int16", "int8")}
tensors |= {n: (x % 2).astype(n) for n in ("uint64", "uint32", "uint16", "uint8", "bool")}
tensors |= {"scalar": np.array(1.5, "float32"), "none": np.zeros((0, 4), "float32")}
save_file(tensors, sys.argv[1], {"format": "pt"})
