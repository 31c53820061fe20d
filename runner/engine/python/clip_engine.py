"""Scores and features by CLIP and its kin.

score   a CLIP that the parameter model names, read as its authors read it:
        cosine      of the embeddings of image and prompt: CLIP score (Radford et al. 2021)
        pickscore   logit scale * cosine: PickScore (Kirstain et al. 2023), with model: "yuvalkirstain/PickScore_v1"
        hpsv2       cosine: HPSv2 (Wu et al. 2023), with a folder of its weights
embed   features of images by CLIP, DINOv2 or Inception, and of texts by CLIP

A model is a folder in transformers' layout, a folder below $ABLATE_MODELS, or a repository in the local Hugging
Face cache. HPSv2 is also read from its authors' file HPS*.pt, for which open_clip must be installed; Inception is
the TorchScript file that clean-fid and StyleGAN3 use (inception-2015-12-05.pt). Pictures are resized by Pillow.
"""
import functools
import hashlib
import json
import os
import sys
from pathlib import Path

from ablate_engine import Engine, Refused, integer, lazy, located, string

numpy, torch, F = lazy("numpy"), lazy("torch"), lazy("torch.nn.functional")
Image, safetensors = lazy("PIL.Image"), lazy("safetensors.torch")

PACKAGES = ["torch", "transformers", "safetensors", "tokenizers", "numpy", "pillow", "open_clip_torch"]
engine = Engine("clip", "1", packages=PACKAGES)


def find(name, task):
    for folder in (located(name), Path(os.environ.get("ABLATE_MODELS", "/"), name)):
        if folder.is_dir():
            return folder.resolve()
    if name == "tiny-clip":
        import tiny_models  # a random model for tests, beside this file
        folder = task.dir / "tmp" / name
        tiny_models.make(name, folder)
        return folder
    try:
        import huggingface_hub
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except Exception as error:
        raise Refused(f"{name} is no folder, and not in the Hugging Face cache: {error}") from None


@functools.lru_cache(maxsize=16)
def digests(folder):
    """The weights by SHA-256: ablate knows a scorer by them, under whatever name."""
    files = [f for f in sorted(Path(folder).iterdir()) if f.suffix in (".safetensors", ".bin", ".pt", ".pth")]
    found = {}
    for file in files:
        with open(file, "rb") as f:
            found[file.name] = hashlib.file_digest(f, "sha256").hexdigest()
    return found


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# ---- Networks. Each has images(list of files) and, if it knows texts, texts(list of prompts): features [n, d].

class Clip:
    def __init__(self, folder):
        from transformers import AutoTokenizer, CLIPModel
        self.net = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval().to(device())
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.prepare = Prepare(json.loads((folder / "preprocessor_config.json").read_text()))
        self.scale = self.net.logit_scale.exp().item()

    def images(self, files):
        return self.net.visual_projection(self.net.vision_model(pixel_values=self.prepare(files)).pooler_output)

    def texts(self, prompts):
        ids = self.tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").to(device())
        return self.net.text_projection(self.net.text_model(**ids).pooler_output)


class OpenClipHPS(Clip):
    """HPSv2 as its authors publish it: a ViT-H-14 of open_clip."""

    def __init__(self, folder):
        import open_clip
        self.net = open_clip.create_model("ViT-H-14", device=device()).eval()
        file = next(folder.glob("HPS*.pt"))
        self.net.load_state_dict(torch.load(file, map_location=device(), weights_only=True)["state_dict"])
        self.tokenizer, self.scale = open_clip.get_tokenizer("ViT-H-14"), self.net.logit_scale.exp().item()
        self.prepare = Prepare({"size": 224, "image_mean": open_clip.OPENAI_DATASET_MEAN, "image_std": open_clip.OPENAI_DATASET_STD})

    def images(self, files): return self.net.encode_image(self.prepare(files))
    def texts(self, prompts): return self.net.encode_text(self.tokenizer(prompts).to(device()))


class Dino:
    def __init__(self, folder):
        from transformers import AutoModel
        if "dino" not in json.loads((folder / "config.json").read_text()).get("model_type", ""):
            raise Refused(f"network: {folder} holds no DINOv2")
        self.net = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval().to(device())
        self.prepare = Prepare(json.loads((folder / "preprocessor_config.json").read_text()))

    def images(self, files):
        return self.net(pixel_values=self.prepare(files)).pooler_output


class Inception:
    """Its TorchScript takes 8-bit values; as in clean-fid, the picture is resized before."""

    def __init__(self, folder):
        files = list(folder.glob("inception*.pt"))
        if not files:
            raise Refused(f"network: {folder} holds no inception*.pt")
        self.net = torch.jit.load(files[0], map_location=device()).eval()
        self.prepare = Prepare({"size": {"height": 299, "width": 299}, "do_center_crop": False, "resample": 3,
                                "rescale_factor": 1.0, "image_mean": [0.0] * 3, "image_std": [1.0] * 3})

    def images(self, files):
        return self.net(self.prepare(files), return_features=True)


NETWORKS = {"clip": Clip, "dinov2": Dino, "inception": Inception}


class Prepare:
    """Resize, crop and normalize as a preprocessor_config.json says, with Pillow's antialiased filters."""

    def __init__(self, config):
        self.config, size = config, config.get("size", 224)
        self.short = size if isinstance(size, int) else size.get("shortest_edge")
        self.exact = None if self.short else (size["width"], size["height"])
        crop = config.get("crop_size", self.short)
        self.crop = (crop, crop) if isinstance(crop, int) else crop and (crop["width"], crop["height"])
        self.said = f"{config.get('resample', 3)} (Pillow) to {self.exact or self.short}" + (f", crop {self.crop}" if self.cropped() else "")

    def cropped(self):
        return self.config.get("do_center_crop", True) and self.crop

    def one(self, file):
        image = Image.open(file).convert("RGB")
        size = self.exact or [self.short if n == min(image.size) else int(self.short * n / min(image.size)) for n in image.size]
        image = image.resize(size, self.config.get("resample", 3))
        if self.cropped():
            left, top = ((n - c) // 2 for n, c in zip(image.size, self.crop))
            image = image.crop((left, top, left + self.crop[0], top + self.crop[1]))
        pixels = numpy.asarray(image, dtype=numpy.float32) * self.config.get("rescale_factor", 1 / 255)
        return (pixels - numpy.float32(self.config["image_mean"])) / numpy.float32(self.config["image_std"])

    def __call__(self, files):
        return torch.from_numpy(numpy.stack([self.one(f) for f in files])).permute(0, 3, 1, 2).to(device())


@functools.lru_cache(maxsize=4)  # a worker keeps its networks
def network(kind, folder):
    return kind(folder)


def batches(rows, size):
    return (rows[i:i + size] for i in range(0, len(rows), size))


@engine.verb(revision=1, serve=True, columns={c: {"kind": "real", "better": "higher"} for c in ("cosine", "pickscore", "hpsv2")}, params={
    "model": string(None, "the network's folder or repository: the study must name it, for it gives a column its meaning"),
    "batch": integer(32, "images at a time; changes the last bits only", unit="images", minimum=1, identity="record"),
}, probe={"model": "tiny-clip", "batch": 4})
def score(task):
    p, rows, done = task.params, task.rows("images"), 0
    folder = find(p.model, task)
    net = network(OpenClipHPS if list(folder.glob("HPS*.pt")) else Clip, folder)
    for batch in batches(rows, p.batch):
        with torch.no_grad():
            images = F.normalize(net.images([row["file"] for row in batch]).double(), dim=-1)
            texts = F.normalize(net.texts([row["prompt"] for row in batch]).double(), dim=-1)
        for row, cosine in zip(batch, (images * texts).sum(-1).tolist()):
            values = {"cosine": cosine, "pickscore": cosine * net.scale, "hpsv2": cosine}
            task.row("scores", index=row["index"], values=values)
        done += len(batch)
        task.progress(step=done, of=len(rows))
    task.fact(files=digests(folder), resize=net.prepare.said)


@engine.verb(revision=1, serve=True, params={
    "network": string("clip", "whose features", enum=[*NETWORKS]),
    "model": string(None, "its folder or repository"),
    "batch": integer(32, "rows at a time; changes the last bits only", unit="rows", minimum=1, identity="record"),
}, probe={"network": "clip", "model": "tiny-clip", "batch": 4})
def embed(task):
    p, role = task.params, "images" if task.input("images") else "texts"
    folder = find(p.model, task)
    net = network(NETWORKS[p.network], folder)
    if not hasattr(net, role):
        raise Refused(f"network: {p.network} has no features of texts")
    rows, features = task.rows(role), []
    for batch in batches(rows, p.batch):
        with torch.no_grad():
            features.append(getattr(net, role)([row["file" if role == "images" else "prompt"] for row in batch]).float().cpu())
        task.progress(step=len(features), of=-(-len(rows) // p.batch))
    safetensors.save_file({"features": torch.cat(features).contiguous()}, task.out("features") / "features.safetensors")
    for row in rows:
        task.row("features", index=row["index"])
    task.fact(network=p.network, files=digests(folder), resize=net.prepare.said)


if __name__ == "__main__":
    engine.main()
