"""Reads a file with Python's own safetensors and prints name, type, shape and the sum of the bytes.

    python read.py FILE
"""
import sys

from safetensors import deserialize

with open(sys.argv[1], "rb") as f:
    for name, t in sorted(deserialize(f.read())):
        print(name, t["dtype"], list(t["shape"]), sum(t["data"]))
