"""diffusers' published LoRA script as an engine: train_text_to_image_lora.py of diffusers' examples/text_to_image, unchanged.

It is the example of how a trainer is wrapped (docs/engines.md, "Wrapping a trainer"). The script is in no package. Take
the copy of your diffusers version, and either put it beside this file, where `source` of the study has it, or name it
by LORA_SCRIPT in the engine's `env` of machine.cue and its SHA-256 by the parameter `script`. So a change of the script
always computes its trainings again.

The script trains a LoRA on the attention of Stable Diffusion 1 or 2, all images with equal weights: it can do the arms
of a study that need no weights, on images that ablate has drawn and chosen. Gradients are never clipped: the script's
--max_grad_norm has no effect in the version that was tried, as `ablate probe` found (the iterator of weights that it
clips has been used up by the optimizer). What an adapter does, and this one does so:

  data        the rows become an imagefolder: links to the pictures, and metadata.jsonl with their prompts
  parameters  become the script's options; what the script would ignore or round is refused before it starts
  read back   the optimizer, the precision and the number of images that the script really has
  curve       what it logs; a loss that is not finite ends the training as diverged
  stop        the script saves only every so many steps, so the engine enters it: `inside` starts the script with
              accelerate's log(), called after each step, replaced. Its save_state() saves all but the place in the
              data, and the order of the images goes on differently: the resume is approximate

The script needs datasets and torchvision beside the packages of requirements.txt.

Tested with the script of diffusers 0.40.0.dev0 (58eb52c) and with the stand-in of the tests, on a tiny model and one CPU.
*Not run*: GPUs, several GPUs (`accelerate launch`), bfloat16, published weights.
"""
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from ablate_engine import (Child, Engine, Failed, Refused, Stopped, boolean, integer, link_pictures, number, read_lines, string,
                           write_file, write_folder)

SCRIPT = Path(os.environ.get("LORA_SCRIPT") or Path(__file__).with_name("train_text_to_image_lora.py"))
BESIDE = SCRIPT.resolve().parent == Path(__file__).resolve().parent
PRECISIONS = {"float32": "no", "bfloat16": "bf16"}
engine = Engine("lora-script", "1", packages=["torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "torchvision"])


def digest():
    if not SCRIPT.is_file():
        raise Refused(f"there is no script {SCRIPT}: copy diffusers' examples/text_to_image/train_text_to_image_lora.py there, "
                      "or name yours by LORA_SCRIPT in `env` of machine.cue")
    return hashlib.sha256(SCRIPT.read_bytes()).hexdigest()


@engine.verb(revision=1, repeat="draws", resume="approximate", stop="file", world="key", readback=True, seeds=["seed"],
             format="diffusers-lora", inputs={"base": {}, "images": {"columns": ["prompt"]}}, params={
    "script": string("", "SHA-256 of the script; empty if it lies beside the engine and `source` has it"),
    "method": string("filtered", "images have equal weights: ablate hands over those that passed its filter", enum=["filtered"]),
    "steps": integer(1000, "updates", unit="steps", minimum=1, probe=[3, 6]),
    "batch": integer(64, "images of a step on all GPUs; the last step of an epoch may have fewer", unit="images", minimum=1, probe=[2, 4]),
    "micro": integer(8, "images that a GPU takes at a time", unit="images", minimum=1, probe=[2, 4]),
    "learning_rate": number(1e-4, "of AdamW", above=0, probe=[1e-4, 1e-2]),
    "schedule": string("constant", "of the learning rate after the warmup", enum=["constant", "linear", "cosine"]),
    "warmup": integer(0, "steps in which the learning rate rises linearly", unit="steps", minimum=0, probe=[0, 5]),
    "weight_decay": number(0.01, "of AdamW", minimum=0, probe=[0.0, 1.0]),
    "beta1": number(0.9, "of AdamW", minimum=0, maximum=0.9999, probe=[0.0, 0.99]),
    "beta2": number(0.999, "of AdamW", minimum=0, maximum=0.999999, probe=[0.5, 0.999]),
    "snr_gamma": number(0.0, "of the min-SNR weights of noise levels (arXiv 2303.09556); 0: none", minimum=0, probe=[0.0, 1.0]),
    "noise_offset": number(0.0, "noise that all pixels of a latent share", minimum=0, probe=[0.0, 1.0]),
    "flip": boolean(False, "mirrors images at random"),
    "size": integer(512, "width and height to which images are resized and cropped", unit="pixels", minimum=16, probe=[32, 64]),
    "lora": {"rank": integer(16, "of the LoRA, whose alpha is the rank", minimum=1, probe=[2, 4])},
    "dtype": string("float32", "of frozen weights and of products", enum=list(PRECISIONS), probe=["float32"]),
    "checkpointing": boolean(False, "computes activations twice to save memory", identity="record"),
}, probe={"script": "" if BESIDE or not SCRIPT.is_file() else digest(), "method": "filtered", "steps": 6, "batch": 4, "micro": 2, "learning_rate": 1e-3,
          "schedule": "linear", "warmup": 2, "weight_decay": 0.02, "beta1": 0.8, "beta2": 0.99, "snr_gamma": 5.0,
          "noise_offset": 0.1, "flip": True, "size": 32, "lora": {"rank": 4}, "dtype": "float32", "checkpointing": False})
def train(task):
    p, state = task.params, task.dir / "state"
    check(task)
    data = task.dir / "tmp" / "data"
    pairs = link_pictures(data, task.rows("images"), p.batch)
    (data / "metadata.jsonl").write_text("".join(json.dumps({"file_name": name, "text": prompt}) + "\n" for name, prompt in pairs))
    start = max([int(saved.name[len("checkpoint-"):]) for saved in state.glob("checkpoint-*")], default=0)
    curve = state / "curve.jsonl"
    write_file(curve, "".join(json.dumps(row) + "\n" for row in read_lines(curve) if row["step"] <= start))
    if start:
        task.report["resumed_from"] = start
    with Child(command(task, data, start)) as child:
        for _ in child:
            task.follow(read_lines(curve), p.steps)
    task.follow(rows := read_lines(curve), p.steps)  # the exit status of a trainer is no proof: its last step is
    weights, last = state / "pytorch_lora_weights.safetensors", rows[-1]["step"] if rows else 0
    if task.stopping() and (state / f"checkpoint-{last}").exists() and last < p.steps:
        raise Stopped(last)
    if child.status or last != p.steps or not weights.exists():
        raise Failed(f"the script ended with {child.status} after step {last} of {p.steps}")
    shutil.copyfile(weights, task.out("checkpoint") / weights.name)
    task.checkpoint(task.out("checkpoint"), "diffusers-lora", base="base", alpha=p.lora.rank, weights="raw", dtype="float32")
    read_back(task, json.loads((state / "used.json").read_text()), len(pairs), last)


def check(task):
    """Refuses what the script would round, or train otherwise than asked."""
    p, model, sha256 = task.params, task.model("base"), digest()
    if p.script and p.script != sha256:
        raise Refused(f"script: {SCRIPT} has the SHA-256 {sha256}, and the study asks for {p.script}")
    if not p.script and not BESIDE:
        raise Refused(f'script: {SCRIPT} is not beside the engine, so the study must name it: finetune: params: script: "{sha256}"')
    if not p.script:
        task.source(SCRIPT.resolve())
    if (name := json.loads((model / "model_index.json").read_text())["_class_name"]) != "StableDiffusionPipeline":
        raise Refused(f"the script trains a StableDiffusionPipeline; {model} is a {name}")
    if p.batch % (micro(p) * task.gpus):
        raise Refused(f"batch: {p.batch} images are no multiple of {micro(p)} (micro) on each of {task.gpus} GPUs")


def micro(p):
    return min(p.micro, p.batch)


def command(task, data, start):
    p = task.params
    schedule = "constant_with_warmup" if p.schedule == "constant" else p.schedule  # the script's "constant" ignores the warmup
    options = {
        "pretrained_model_name_or_path": task.model("base"), "train_data_dir": data, "cache_dir": task.dir / "tmp" / "cache",
        "output_dir": task.dir / "state", "seed": task.seed("seed"), "resolution": p.size, "max_train_steps": p.steps,
        "train_batch_size": micro(p), "gradient_accumulation_steps": p.batch // micro(p) // task.gpus, "learning_rate": p.learning_rate,
        "lr_scheduler": schedule, "lr_warmup_steps": p.warmup, "adam_beta1": p.beta1, "adam_beta2": p.beta2,
        "adam_weight_decay": p.weight_decay, "max_grad_norm": "inf",
        "noise_offset": p.noise_offset, "rank": p.lora.rank, "mixed_precision": PRECISIONS[p.dtype],
        "checkpointing_steps": 2**31, "report_to": "tensorboard"}  # `inside` saves and logs
    if p.snr_gamma:
        options["snr_gamma"] = p.snr_gamma
    if start:
        options["resume_from_checkpoint"] = f"checkpoint-{start}"  # of "latest" a script that finds none begins anew
    flags = ["--center_crop"] + ["--random_flip"] * p.flip + ["--gradient_checkpointing"] * p.checkpointing
    return [*task.python(PRECISIONS[p.dtype]), Path(__file__).resolve(), "inside", task.dir, SCRIPT,
            *(f"--{k}={v}" for k, v in options.items()), *flags]


def read_back(task, used, images, last):
    """The parameters as the script had them in its optimizer and its accelerator."""
    p, args = task.params, used["args"]
    if used["images"] != images:
        raise Failed(f"the script found {used['images']} of {images} images")
    task.resolved(
        script=p.script, method=p.method, steps=last, batch=args["train_batch_size"] * used["accumulation"] * used["world"],
        micro=args["train_batch_size"] if p.micro <= p.batch else p.micro, learning_rate=used["learning_rate"],
        schedule=args["lr_scheduler"].removesuffix("_with_warmup"), warmup=args["lr_warmup_steps"],
        weight_decay=used["weight_decay"], beta1=used["betas"][0], beta2=used["betas"][1],
        snr_gamma=args["snr_gamma"] or 0.0, noise_offset=args["noise_offset"],
        flip=args["random_flip"], size=args["resolution"], lora={"rank": args["rank"]},
        dtype={v: k for k, v in PRECISIONS.items()}[used["precision"]], checkpointing=args["gradient_checkpointing"])


def inside(folder, script, argv):
    """Runs the script in this process, with accelerate's reports to trackers replaced by the files of the task."""
    import runpy

    from accelerate import Accelerator
    from accelerate.utils import broadcast_object_list
    request, state, saved = json.loads((folder / "request.json").read_text()), folder / "state", time.monotonic()

    def init_trackers(self, project_name, config=None, init_kwargs={}):
        group = self._optimizers[0].param_groups[0]
        write_file(state / "used.json", json.dumps({
            "args": config, "world": self.num_processes, "accumulation": self.gradient_accumulation_steps,
            "precision": self.mixed_precision, "images": len(self._dataloaders[0].dataset), "betas": group["betas"],
            "learning_rate": group.get("initial_lr", group["lr"]), "weight_decay": group["weight_decay"]}))

    def log(self, values, step=None, log_kwargs={}):
        nonlocal saved
        if self.is_main_process:
            with open(state / "curve.jsonl", "a") as f:
                f.write(json.dumps({"step": step, "loss": values["train_loss"]}) + "\n")
        every, stop = request.get("save_every_s", 0), (folder / "stop").exists()
        stop, due = broadcast_object_list([stop, stop or 0 < every <= time.monotonic() - saved])
        if not due or step == request["params"]["steps"]:
            return

        def write(beside):
            self.wait_for_everyone()  # the folder is there
            self.save_state(beside)
            self.wait_for_everyone()
        path = state / f"checkpoint-{step}"
        if self.is_main_process:
            write_folder(path, write)
            for old in state.glob("checkpoint-*"):
                if old != path:
                    shutil.rmtree(old)
        else:
            write(path.with_name(f".new-{path.name}"))
        saved = time.monotonic()
        if stop:
            sys.exit(75)

    Accelerator.init_trackers, Accelerator.log = init_trackers, log
    sys.argv = [str(script), *argv]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        engine.main()
