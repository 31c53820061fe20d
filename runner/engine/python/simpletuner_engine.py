"""SimpleTuner as an engine: LoRAs of SDXL, Stable Diffusion 3 and FLUX, all images with equal weights.

The rows become a folder of pictures with captions, the parameters SimpleTuner's config.json; `python -m simpletuner.train`
runs (`accelerate launch` on several GPUs), because the command `simpletuner train` puts the trainer into a session of
its own. The curve is its training_metrics.jsonl, what it really used its simpletuner_config.json. To save, it is asked
for a manual checkpoint by its signal file; it goes on meanwhile, and is ended when the checkpoint is whole. Its resume is
approximate: it restores the optimizer and the place in the data, and not all random numbers.

Tested with SimpleTuner 4.10.1 and transformers 5.15.0 (5.24 lacks a class that it imports) on Python 3.12 and one CPU, on a
tiny random SDXL model; see test_adapters.SimpleTuner for what a CPU needs. *Not run*: GPUs, Stable Diffusion 3 and FLUX,
bfloat16, published weights. Stable Diffusion 1 is refused: that version cannot build its pipeline.
"""
import json
import shutil
import time
from pathlib import Path

from ablate_engine import (Child, Engine, Failed, Refused, Stopped, boolean, integer, link_pictures, number, read_lines, string,
                           write_file)

FAMILIES = {"StableDiffusionXLPipeline": "sdxl", "StableDiffusion3Pipeline": "sd3", "FluxPipeline": "flux"}
PRECISIONS = {"float32": ("no", "fp32"), "bfloat16": ("bf16", "bf16")}
engine = Engine("simpletuner", "1", packages=["simpletuner", "torch", "diffusers", "transformers", "peft", "accelerate"])


@engine.verb(revision=1, repeat="draws", resume="approximate", stop="file", world="key", readback=True, seeds=["seed"],
             format="diffusers-lora", inputs={"base": {}, "images": {"columns": ["prompt"]}}, params={
    "method": string("filtered", "images have equal weights: ablate hands over those that passed its filter", enum=["filtered"]),
    "steps": integer(1000, "updates", unit="steps", minimum=1, probe=[3, 6]),
    "batch": integer(64, "images of a step on all GPUs", unit="images", minimum=1, probe=[2, 4]),
    "micro": integer(8, "images that a GPU takes at a time", unit="images", minimum=1, probe=[1, 2]),
    "learning_rate": number(1e-4, "of AdamW", above=0, probe=[1e-4, 1e-2]),
    "schedule": string("constant", "of the learning rate after the warmup", enum=["constant", "polynomial", "cosine"]),
    "warmup": integer(0, "steps in which the learning rate rises linearly", unit="steps", minimum=0, probe=[0, 5]),
    "weight_decay": number(0.01, "of AdamW", minimum=0, probe=[0.0, 1.0]),
    "beta1": number(0.9, "of AdamW", minimum=0, maximum=0.9999, probe=[0.0, 0.99]),
    "beta2": number(0.999, "of AdamW", minimum=0, maximum=0.999999, probe=[0.5, 0.999]),
    "clip": number(1.0, "largest norm of the gradient", above=0, probe=[1e-4, 1000.0]),
    "drop": number(0.0, "part of the prompts that become empty, for guidance", minimum=0, maximum=1, probe=[0.0, 1.0]),
    "size": integer(512, "width and height to which images are resized and cropped, a multiple of 64", unit="pixels", minimum=64, probe=[64, 128]),
    "lora": {
        "rank": integer(16, "of the LoRA on the attention", minimum=1, probe=[2, 4]),
        "alpha": number(16.0, "the LoRA is scaled by alpha / rank", above=0, probe=[2.0, 16.0]),
    },
    "dtype": string("bfloat16", "of frozen weights and of products", enum=list(PRECISIONS), probe=["float32"]),
    "checkpointing": boolean(True, "computes activations twice to save memory", identity="record"),
}, probe={"method": "filtered", "steps": 6, "batch": 4, "micro": 2, "learning_rate": 1e-3, "schedule": "cosine", "warmup": 2,
          "weight_decay": 0.02, "beta1": 0.8, "beta2": 0.99, "clip": 0.5, "drop": 0.25, "size": 64, "lora": {"rank": 4, "alpha": 8.0},
          "dtype": "float32", "checkpointing": False})
def train(task):
    p = task.params
    state = (task.dir / "state").resolve()  # its checkpoints have paths of pictures, which must stay from attempt to attempt
    images = task.rows("images")
    start = max([step_of(saved) for saved in whole(state)], default=0)
    write_file(task.dir / "tmp" / "config.json", json.dumps(render(task, state, images, start), indent=1))
    if start:
        task.report["resumed_from"] = start
    curve, signal = state / "training_metrics.jsonl", task.dir / "tmp" / "signal.json"
    before, done, asked, signals, saved = len(losses(curve)), start, False, 0, time.monotonic()
    every = task.request.get("save_every_s", 0)
    write_file(signal, "{}")
    environment = {"CONFIG_BACKEND": "json", "CONFIG_PATH": str(task.dir / "tmp" / "config.json"), "SIMPLETUNER_ACCELERATE_SIGNAL_FILE": str(signal)}
    with Child([*task.python(PRECISIONS[p.dtype][0]), "-m", "simpletuner.train"], task.dir / "tmp", **environment) as child:
        for _ in child:
            task.follow(losses(curve), p.steps)
            newest = max([step_of(path) for path in whole(state)], default=0)
            if newest > done:
                done, saved, asked = newest, time.monotonic(), False
                if task.stopping():
                    raise Stopped(done)
            if not asked and (task.stopping() or 0 < every <= time.monotonic() - saved):
                signals, asked = signals + 1, True
                write_file(signal, json.dumps({"manual_checkpoint": signals}))
    rows = losses(curve)
    task.follow(rows, p.steps)
    weights, last = state / "pytorch_lora_weights.safetensors", rows[-1]["step"] if rows else 0
    if child.status or last != p.steps or not weights.exists():
        raise Failed(f"SimpleTuner ended with {child.status} after step {last} of {p.steps}")
    if start < p.steps and rows[before]["step"] != start + 1:  # where it finds no checkpoint it begins anew, and only prints so
        raise Failed(f"SimpleTuner was to go on after step {start}, and began at {rows[before]['step']}")
    shutil.copyfile(weights, task.out("checkpoint") / weights.name)
    task.checkpoint(task.out("checkpoint"), "diffusers-lora", base="base", alpha=p.lora.alpha, weights="raw")
    read_back(task, json.loads((state / "simpletuner_config.json").read_text()), last)


def whole(state):
    """Its whole checkpoints: it writes checkpoint-N-tmp, and renames that."""
    return [path for path in state.glob("checkpoint-*") if path.name.count("-") == 1]


def step_of(checkpoint):
    return int(checkpoint.name.split("-")[1])


def losses(curve):
    return [{"step": row["step"], "loss": row["metrics"]["train_loss"], "learning_rate": row["metrics"]["learning_rate"]}
            for row in read_lines(curve) if "train_loss" in row["metrics"]]


def render(task, state, images, start):
    """Writes the pictures and the list of data backends; returns the options of config.json."""
    p, tmp, data, model = task.params, task.dir / "tmp", state / "data", task.model("base")
    name, size = json.loads((model / "model_index.json").read_text())["_class_name"], p.size
    if name not in FAMILIES:
        raise Refused(f"this engine trains {', '.join(FAMILIES)}; {model} is a {name}")
    if p.batch % (micro(p) * task.gpus):
        raise Refused(f"batch: {p.batch} images are no multiple of {micro(p)} (micro) on each of {task.gpus} GPUs")
    if size % 64:
        raise Refused(f"size: {size}; SimpleTuner rounds sizes to multiples of 64")
    shutil.rmtree(data, ignore_errors=True)  # links of an attempt that is over
    for file, prompt in link_pictures(data, images, p.batch):
        (data / file).with_suffix(".txt").write_text(prompt)
    write_file(tmp / "backends.json", json.dumps([
        {"id": "images", "type": "local", "instance_data_dir": str(data), "caption_strategy": "textfile", "resolution": size,
         "resolution_type": "pixel", "minimum_image_size": 1, "crop": True, "crop_style": "center", "crop_aspect": "square",
         "metadata_backend": "discovery", "cache_dir_vae": str(tmp / "vae"), "repeats": 0},
        {"id": "text", "type": "local", "dataset_type": "text_embeds", "default": True, "cache_dir": str(tmp / "text")}]))
    mixed, base = PRECISIONS[p.dtype]
    options = {
        "model_family": FAMILIES[name], "model_type": "lora", "lora_type": "standard", "pretrained_model_name_or_path": str(model),
        "pretrained_vae_model_name_or_path": str(model), "output_dir": str(state), "data_backend_config": str(tmp / "backends.json"),
        "cache_dir": str(tmp / "cache"), "seed": task.seed("seed"), "resolution": size, "resolution_type": "pixel", "num_train_epochs": 0,
        "max_train_steps": p.steps, "train_batch_size": micro(p), "gradient_accumulation_steps": p.batch // micro(p) // task.gpus,
        "learning_rate": p.learning_rate, "lr_scheduler": "constant_with_warmup" if p.schedule == "constant" else p.schedule,
        "lr_warmup_steps": p.warmup, "lr_end": "0", "optimizer": "torch-adamw", "optimizer_beta1": p.beta1, "optimizer_beta2": p.beta2,
        "optimizer_config": f"weight_decay={p.weight_decay}", "max_grad_norm": p.clip, "caption_dropout_probability": p.drop,
        "lora_rank": p.lora.rank, "lora_alpha": p.lora.alpha, "mixed_precision": mixed, "base_model_default_dtype": base,
        "gradient_checkpointing": p.checkpointing, "checkpoint_step_interval": 10**9, "checkpoints_total_limit": 1,
        "checkpointing_use_tempdir": True, "report_to": "simpletuner", "tracker_project_name": "ablate", "tracker_run_name": "ablate",
        "validation_disable": True, "disable_benchmark": True}
    if start:
        options["resume_from_checkpoint"] = f"checkpoint-{start}"
    return {f"--{k}": v for k, v in options.items()}


def micro(p):
    return min(p.micro, p.batch)


def read_back(task, used, last):
    """The parameters as SimpleTuner's own configuration has them after the training."""
    p = task.params
    task.resolved(
        method=p.method, steps=last, batch=used["train_batch_size"] * used["gradient_accumulation_steps"] * task.gpus,
        micro=used["train_batch_size"] if p.micro <= p.batch else p.micro, learning_rate=used["learning_rate"],
        schedule=used["lr_scheduler"].removesuffix("_with_warmup"), warmup=used["lr_warmup_steps"],
        weight_decay=float(used["optimizer_config"].removeprefix("weight_decay=")), beta1=used["optimizer_beta1"],
        beta2=used["optimizer_beta2"], clip=used["max_grad_norm"], drop=used["caption_dropout_probability"], size=used["resolution"],
        lora={"rank": used["lora_rank"], "alpha": used["lora_alpha"]},
        dtype={"torch.float32": "float32", "torch.bfloat16": "bfloat16"}[used["weight_dtype"]], checkpointing=used["gradient_checkpointing"])


if __name__ == "__main__":
    engine.main()
