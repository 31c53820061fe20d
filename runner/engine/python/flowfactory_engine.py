"""Flow-Factory as an engine: online methods on Stable Diffusion 3.5 and FLUX, with the study's scorer as the reward.

The rows of `prompts` become train.jsonl, the parameters its YAML. It draws images while it trains and asks for their
rewards over HTTP: its own RemotePointwiseRewardModel meets the kit's bridge to the scorer. The engine enters it, as it
does not save what it has trained last: `inside` saves the LoRA when its loop ends, writes down its configuration after it
has rounded the batch to the number of GPUs, and takes its curve. A training that is interrupted begins anew: Flow-Factory
resumes without the epoch and without the averaged weights.

Tested with its commit a0b2bc5 on a tiny random Stable Diffusion 3 and one CPU, each method for a few epochs, and with the
stand-in of the tests. *Not run*: GPUs, FLUX, published weights. `ablate probe` has no scorer to give it, and skips its checks.
"""
import json
import sys
from pathlib import Path

from ablate_engine import Child, Engine, Failed, Refused, boolean, integer, number, read_lines, string, write_file

FAMILIES = {"StableDiffusion3Pipeline": "sd3-5", "FluxPipeline": "flux1"}
PRECISIONS = {"float32": "no", "bfloat16": "bf16"}
LATENTS = {"float32": "fp32", "bfloat16": "bf16"}  # of drawn images, between the drawing and the training
METHODS = {"grpo": "Flow-SDE", "grpo-guard": "Flow-SDE", "nft": "ODE", "awm": "ODE"}  # and how each draws its images
ODE = {"method": [method for method, dynamics in METHODS.items() if dynamics == "ODE"]}
engine = Engine("flow-factory", "1", packages=["flow-factory", "torch", "diffusers", "transformers", "peft", "accelerate"])


@engine.verb(revision=1, repeat="draws", stop="none", world="key", readback=True, seeds=["seed"], format="diffusers-lora",
             inputs={"base": {}, "prompts": {}}, params={
    "method": string("grpo", "the trainer", enum=list(METHODS)),
    "epochs": integer(100, "rounds of drawing and training", unit="epochs", minimum=1),
    "prompts": integer(48, "prompts of an epoch", minimum=1),
    "group": integer(24, "images of a prompt", unit="images", minimum=2),
    "micro": integer(8, "images that a GPU draws or trains on at a time", unit="images", minimum=1),
    "updates": integer(2, "updates of an epoch", minimum=1),
    "learning_rate": number(3e-4, "of AdamW", above=0),
    "weight_decay": number(1e-4, "of AdamW", minimum=0),
    "beta1": number(0.9, "of AdamW", minimum=0, maximum=0.9999),
    "beta2": number(0.999, "of AdamW", minimum=0, maximum=0.999999),
    "clip": number(1.0, "largest norm of the gradient", above=0),
    "kl": number(0.0, "weight of the divergence from the base", minimum=0),
    "ema": {
        "decay": number(0.99, "of the averaged weights, which become the checkpoint; 0: raw weights", minimum=0, maximum=0.999999),
        "every": integer(4, "epochs between two updates of them", unit="epochs", minimum=1, unused={"ema.decay": [0]}),
    },
    "size": integer(512, "width and height of the images", unit="pixels", minimum=16),
    "sampler": {
        "steps": integer(10, "calls of the model for one image", unit="steps", minimum=1),
        "guidance": number(4.5, "classifier-free guidance", minimum=0),
        "noise": number(0.8, "noise of the stochastic steps", minimum=0, unused=ODE),
        "stochastic": integer(2, "stochastic steps of an image", unit="steps", minimum=1, unused=ODE),
    },
    "lora": {
        "rank": integer(32, "of the LoRA on the attention", minimum=1),
        "alpha": integer(64, "the LoRA is scaled by alpha / rank", minimum=1),
    },
    "dtype": string("bfloat16", "of products and of drawn latents", enum=list(PRECISIONS)),
    "checkpointing": boolean(False, "computes activations twice to save memory", identity="record"),
})
def train(task):
    import yaml  # JSON would not do: YAML reads 1e-05 as a text
    p, tmp = task.params, task.dir / "tmp"
    scorer = task.scorer("reward")
    write_file(tmp / "config.yaml", yaml.safe_dump(render(task, scorer.bridge())))
    with Child([*task.python(PRECISIONS[p.dtype]), Path(__file__).resolve(), "inside", tmp], tmp) as child:
        for _ in child:
            task.follow(curve(tmp), None)
    scorer.close()
    task.follow(curve(tmp), None)
    saved = tmp / "trained" / "adapter_model.safetensors"
    used = json.loads((tmp / "used.json").read_text()) if (tmp / "used.json").exists() else {}
    if child.status or not saved.exists():
        raise Failed(f"Flow-Factory ended with {child.status} after {used.get('epochs', 0)} of {p.epochs} epochs")
    write_lora(task, saved.parent)
    read_back(task, used)


def render(task, scorer):
    """Writes the prompts, and returns what the YAML has."""
    p, tmp, model, seed = task.params, task.dir / "tmp", task.model("base"), task.seed("seed")
    name = json.loads((model / "model_index.json").read_text())["_class_name"]
    if name not in FAMILIES:
        raise Refused(f"this engine trains {', '.join(FAMILIES)}; {model} is a {name}")
    if (p.ema.every or 0) > p.epochs:
        raise Refused(f"ema.every: {p.ema.every} epochs are more than {p.epochs}, and the averaged weights would stay those of the base")
    (tmp / "prompts").mkdir()
    (tmp / "prompts" / "train.jsonl").write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in task.rows("prompts")))
    return {
        "launcher": "accelerate", "num_processes": task.gpus, "mixed_precision": PRECISIONS[p.dtype],
        "data": {"dataset_dir": str(tmp / "prompts"), "cache_dir": str(tmp / "cache"), "force_reprocess": True, "dataloader_num_workers": 0},
        "model": {"model_name_or_path": str(model), "model_type": FAMILIES[name], "finetune_type": "lora", "target_modules": "default",
                  "lora_rank": p.lora.rank, "lora_alpha": p.lora.alpha},
        # save_freq 0: it would save before an epoch, and never the last weights
        "log": {"run_name": "ablate", "logging_backend": "none", "save_dir": str(tmp / "save"), "save_freq": 0},
        "train": {"trainer_type": p.method, "max_epochs": p.epochs, "unique_sample_num_per_epoch": p.prompts, "group_size": p.group,
                  "per_device_batch_size": p.micro, "gradient_step_per_epoch": p.updates, "learning_rate": p.learning_rate,
                  "adam_weight_decay": p.weight_decay, "adam_betas": [p.beta1, p.beta2], "max_grad_norm": p.clip, "kl_beta": p.kl,
                  "ema_decay": p.ema.decay, "ema_update_interval": p.ema.every or 1, "ema_decay_schedule": "constant",
                  "latent_storage_dtype": LATENTS[p.dtype], "resolution": p.size, "num_inference_steps": p.sampler.steps,
                  "guidance_scale": p.sampler.guidance, "enable_gradient_checkpointing": p.checkpointing, "seed": seed},
        "scheduler": {"dynamics_type": METHODS[p.method], "seed": seed} | ({} if p.sampler.noise is None else {
            "noise_level": p.sampler.noise, "num_sde_steps": p.sampler.stochastic}),
        "eval": {"eval_freq": 0},
        "rewards": [{"name": "reward", "reward_model": "flow_factory.rewards.my_reward_remote.RemotePointwiseRewardModel",
                     "server_url": scorer, "batch_size": 16, "device": "cpu", "dtype": "float32", "timeout": 600.0}]}


def curve(tmp):
    """Its numbers, a row for each of its steps, which it counts from 0 and logs in several parts."""
    rows = {}
    for row in read_lines(tmp / "curve.jsonl"):
        rows.setdefault(row["step"] + 1, {"step": row["step"] + 1}).update(row["numbers"])
    return list(rows.values())


def write_lora(task, saved):
    """Its adapter in peft's layout becomes a LoRA of diffusers."""
    import diffusers
    from safetensors.torch import load_file
    about = json.loads((saved / "adapter_config.json").read_text())
    weights = {name.removeprefix("base_model.model."): w for name, w in load_file(saved / "adapter_model.safetensors").items()}
    pipeline = getattr(diffusers, json.loads((task.model("base") / "model_index.json").read_text())["_class_name"])
    about["target_modules"].sort()  # it is a set, and its order by chance
    kept = {k: about[k] for k in ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora") if k in about}
    pipeline.save_lora_weights(task.out("checkpoint"), transformer_lora_layers=weights, transformer_lora_adapter_metadata=kept)
    task.checkpoint(task.out("checkpoint"), "diffusers-lora", base="base", alpha=about["lora_alpha"], weights="ema" if task.params.ema.decay else "raw")


def read_back(task, used):
    """The parameters as its configuration has them after its own rounding."""
    if used["unknown"]:
        raise Failed(f"Flow-Factory does not know {', '.join(used['unknown'])}, and would ignore it")
    t, p = used["train"], task.params
    task.resolved(
        method=t["trainer_type"], epochs=used["epochs"], prompts=t["unique_sample_num_per_epoch"], group=t["group_size"],
        micro=t["per_device_batch_size"], updates=t["gradient_step_per_epoch"], learning_rate=t["learning_rate"],
        weight_decay=t["adam_weight_decay"], beta1=t["adam_betas"][0], beta2=t["adam_betas"][1], clip=t["max_grad_norm"], kl=t["kl_beta"],
        ema={"decay": t["ema_decay"], "every": p.ema.every and t["ema_update_interval"]}, size=t["height"],
        lora={"rank": used["model"]["lora_rank"], "alpha": used["model"]["lora_alpha"]},
        sampler={"steps": t["num_inference_steps"], "guidance": t["guidance_scale"],
                 "noise": p.sampler.noise and used["scheduler"]["noise_level"],
                 "stochastic": p.sampler.stochastic and used["scheduler"]["num_sde_steps"]},
        dtype={v: k for k, v in PRECISIONS.items()}[used["precision"]], checkpointing=t["enable_gradient_checkpointing"])


def inside(tmp):
    """Runs Flow-Factory in this process. Its loop asks should_continue_training() before each epoch, on all ranks."""
    from flow_factory import train
    from flow_factory.logger import LogFormatter
    from flow_factory.trainers.abc import BaseTrainer
    goes_on = BaseTrainer.should_continue_training

    def should_continue_training(self):
        if goes_on(self):
            return True
        self.save_checkpoint(str(tmp / "trained"))
        if self.accelerator.is_main_process:
            config = self.config
            parts = {"train": config.training_args, "model": config.model_args, "scheduler": config.scheduler_args, "log": config.log_args,
                     "data": config.data_args}
            names = ("trainer_type", "unique_sample_num_per_epoch", "group_size", "per_device_batch_size", "gradient_step_per_epoch",
                     "learning_rate", "adam_weight_decay", "adam_betas", "max_grad_norm", "kl_beta", "ema_decay", "ema_update_interval", "height", "lora_rank",
                     "lora_alpha", "num_inference_steps", "guidance_scale", "noise_level", "num_sde_steps", "enable_gradient_checkpointing")
            write_file(tmp / "used.json", json.dumps({
                **{part: {name: getattr(args, name) for name in names if hasattr(args, name)} for part, args in parts.items()},
                "unknown": [f"{part}.{name}" for part, args in parts.items() for name in args.extra_kwargs],
                "epochs": self.epoch, "precision": self.accelerator.mixed_precision}))
        return False

    def log_data(self, data, step):
        numbers = {name.replace("/", "_"): LogFormatter.to_scalar(value) for name, value in data.items()}
        if self.accelerator.is_main_process:
            with open(tmp / "curve.jsonl", "a") as f:
                f.write(json.dumps({"step": step, "numbers": {k: v for k, v in numbers.items() if v is not None}}) + "\n")

    BaseTrainer.should_continue_training, BaseTrainer.log_data = should_continue_training, log_data
    sys.argv = ["flow_factory", str(tmp / "config.yaml")]
    train.main()


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(Path(sys.argv[2]))
    else:
        engine.main()
