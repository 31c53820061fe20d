"""Writes resize.json: digests of images that Pillow's bicubic filter resized.

    python resize.py resize.json      (Pillow 13.0.0)
"""
import hashlib, json, random, sys

import numpy as np
from PIL import Image

SIZES = [1, 2, 3, 7, 16, 31, 64, 100, 224, 257]


def image(height, width):
    """Bytes of a linear congruential generator: sharp edges, so that sums leave 0 to 255."""
    x, out = height * 1000 + width, bytearray()
    for _ in range(3 * height * width):
        x = (1664525 * x + 1013904223) % 2**32
        out.append((x >> 24) if x >> 31 else 255 * (x >> 30))
    return np.frombuffer(bytes(out), np.uint8).reshape(height, width, 3)


random.seed(1)
sizes = [[random.choice(SIZES) for _ in range(4)] for _ in range(60)]
# Pillow 13 begins with columns or with rows, which only shows in the bytes.
sizes += [[random.randint(1, 60) for _ in range(4)] for _ in range(300)]
sizes += [[97, 41, 75, 32], [640, 200, 224, 70], [58, 26, 14, 4], [56, 28, 9, 5]]
cases = []
for h, w, nh, nw in sizes:
    if h * w > 20000 and h != 640:
        continue
    r = np.asarray(Image.fromarray(image(h, w)).resize((nw, nh), Image.Resampling.BICUBIC))
    cases.append([h, w, nh, nw, hashlib.sha256(r.tobytes()).hexdigest()[:16]])
with open(sys.argv[1], "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
