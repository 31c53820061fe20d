"""Draws images from the checkpoint in this folder, with numpy and safetensors alone.

    python sample.py "two red circles on a white background" --images 4 --seed 1

writes image-0.png and so on. It is also the definition of what the files mean:
the classes below are those that model_index.json names.
"""

import argparse
import json
import math
import pathlib
import struct
import zlib

import numpy as np
from safetensors.numpy import load_file

# The words that a prompt may have, in the order of the text encoder's inputs.
WORDS = ["one", "two", "three", "four", "red", "green", "yellow", "circle", "bar", "white", "black", "purple"]
# Words of a prompt that say nothing: "two red circles on a white background".
FILLERS = {"on", "a", "background", "shape"}


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):  # in its tanh form
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def normalize(x):  # layer norm without scale or shift
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-6)


class Component:
    """A folder with config.json and weights; linear layers are float32[out, in]."""

    def __init__(self, folder, weights):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {name: x.astype(np.float32) for name, x in load_file(folder / weights).items()}

    def linear(self, name, x):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]


class ShapesTextEncoder(Component):
    def words(self, prompt):
        """A prompt as float32[vocabulary]: 1 for each word that it has."""
        bag = np.zeros(self.config["vocab_size"], np.float32)
        for word in prompt.lower().replace(",", " ").split():
            if word not in WORDS and word.endswith("s"):
                word = word[:-1]
            if word in WORDS:
                bag[WORDS.index(word)] = 1
            elif word not in FILLERS:
                raise SystemExit(f"the prompt has the unknown word {word!r}; it may have {', '.join(WORDS)}")
        return bag

    def __call__(self, words):
        return self.linear("out", silu(self.linear("embed", words)))


class ShapesTransformer2DModel(Component):
    """A diffusion transformer with adaptive layer norm (Peebles & Xie 2023). It
    predicts the clean image from x float32[B, S, S, C] at time t in [0, 1], where 1
    is noise, and the text's state float32[B, D]."""

    def __call__(self, x, t, text):
        c = self.config
        b, p, d, heads = len(x), c["patch_size"], c["width"], c["num_attention_heads"]
        n, channels = c["sample_size"] // p, c["in_channels"]
        h = x.reshape(b, n, p, n, p * channels).transpose(0, 1, 3, 2, 4).reshape(b, n * n, p * p * channels)
        h = self.linear("patch_embed", h) + self.weights["position"]
        frequency = np.exp(-np.log(10000) * np.arange(32) / 32).astype(np.float32)
        angle = np.full((b, 1), 1000 * t, np.float32) * frequency
        cond = self.linear("time.0", np.concatenate([np.cos(angle), np.sin(angle)], -1))
        cond = silu(self.linear("time.1", silu(cond)) + self.linear("text", text))
        for i in range(c["num_layers"]):
            block = f"blocks.{i}."
            m = np.split(self.linear(block + "modulation", cond)[:, None], 6, -1)
            a = normalize(h) * (1 + m[1]) + m[0]
            q, k, v = self.linear(block + "attention.qkv", a).reshape(b, n * n, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
            scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(d // heads)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            a = (scores / scores.sum(-1, keepdims=True)) @ v
            h = h + m[2] * self.linear(block + "attention.out", a.transpose(0, 2, 1, 3).reshape(b, n * n, d))
            f = normalize(h) * (1 + m[4]) + m[3]
            h = h + m[5] * self.linear(block + "mlp.1", gelu(self.linear(block + "mlp.0", f)))
        shift, scale = np.split(self.linear("modulation", cond)[:, None], 2, -1)
        h = self.linear("out", normalize(h) * (1 + scale) + shift)
        return h.reshape(b, n, n, p, p * channels).transpose(0, 1, 3, 2, 4).reshape(x.shape)


class RectifiedFlowX0Scheduler:
    """Euler's method on rectified flow, x_t = (1 - t) x_0 + t noise (Liu et al. 2022),
    for a network that predicts x_0: the velocity is (x_t - x_0) / t. A scheduler that
    takes the prediction for a velocity gives garbage."""

    def __init__(self, file):
        self.config = json.loads(file.read_text())
        if self.config["prediction_type"] != "sample":
            raise SystemExit(f"{file}: prediction_type is {self.config['prediction_type']!r}; must be 'sample'")

    def times(self):
        n, shift = self.config["num_inference_steps"], self.config["shift"]
        t = 1 - np.arange(n + 1) / n
        return (shift * t / (1 + (shift - 1) * t)).astype(np.float32)

    def step(self, x, prediction, t, following):
        return x + (x - prediction) / t * (following - t)


class AblateShapesPipeline:
    """The parts of a checkpoint folder together."""

    def __init__(self, folder):
        self.transformer = ShapesTransformer2DModel(folder / "transformer", "diffusion_pytorch_model.safetensors")
        self.text_encoder = ShapesTextEncoder(folder / "text_encoder", "model.safetensors")
        self.scheduler = RectifiedFlowX0Scheduler(folder / "scheduler" / "scheduler_config.json")

    def noise(self, images, seed):
        """Initial noise float32[images, S, S, C]."""
        size, channels = self.transformer.config["sample_size"], self.transformer.config["in_channels"]
        return np.random.default_rng(seed).standard_normal((images, size, size, channels), np.float32)

    def __call__(self, prompts, noise):
        """Images float32[B, S, S, C], about -1 to 1, one of each prompt, from noise of
        that shape."""
        text = self.text_encoder(np.stack([self.text_encoder.words(p) for p in prompts]))
        x, times = noise.astype(np.float32), self.scheduler.times()
        for t, following in zip(times, times[1:]):
            x = self.scheduler.step(x, self.transformer(x, t, text), t, following)
        return x


def png(image):
    """The bytes of a PNG of an image float32[H, W, 3], of which -1 is black."""
    pixels = (np.clip((image + 1) / 2, 0, 1) * 255 + 0.5).astype(np.uint8)
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main():
    parser = argparse.ArgumentParser(description="Draw images from the checkpoint beside this script.")
    parser.add_argument("prompt", help='such as "two red circles on a white background"')
    parser.add_argument("--images", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the initial noise (default: 0)")
    parser.add_argument("--steps", type=int, help="of the sampler (default: as the study had)")
    parser.add_argument("--shift", type=float, help="of the sampler (default: as the study had)")
    parser.add_argument("--noise", help="take the initial noise from this .npy file, float32[images, H, W, C]")
    parser.add_argument("--out", default=".", help="folder for image-0.png and so on (default: the one that you are in)")
    parser.add_argument("--npy", help="write the images, float32, about -1 to 1, to this .npy file too")
    args = parser.parse_args()
    pipeline = AblateShapesPipeline(pathlib.Path(__file__).resolve().parent)
    for name, value in (("num_inference_steps", args.steps), ("shift", args.shift)):
        if value is not None:
            pipeline.scheduler.config[name] = value
    noise = np.load(args.noise) if args.noise else pipeline.noise(args.images, args.seed)
    images = pipeline([args.prompt] * len(noise), noise)
    for i, image in enumerate(images):
        path = pathlib.Path(args.out) / f"image-{i}.png"
        path.write_bytes(png(image))
        print(path)
    if args.npy:
        np.save(args.npy, images)


if __name__ == "__main__":
    main()
