"""The reference engine: Stable Diffusion 1, 2, XL and 3 and FLUX, by diffusers and peft. Copy it and change it.

load     names a model: a folder in diffusers' layout, or a repository in the local Hugging Face cache
sample   draws images; the noise of a row is a function of its seed and the latent shape alone ("torch-cpu")
train    fine-tunes the denoising network, all its weights or a LoRA, on images that ablate has drawn and scored:
           reward-weighted    mean_i r_i l_i + beta * mean_j l_j              (Lee et al. 2023, arXiv 2302.12192)
           softmax-weighted   the same with weights n * softmax(r / temperature)
           filtered           all weights 1: ablate hands over the images that passed its filter
           dpo                -log sigmoid(-dpo_beta/2 [(l_better - l_worse) - (the same of the base)])
                                                                (Diffusion-DPO, Wallace et al. 2023, arXiv 2311.12908)
         l is the denoising loss of one image, the mean over the entries of its latent: |eps - eps_theta|^2 or
         |v - v_theta|^2 for a U-Net, |(eps - x0) - v_theta|^2 for a flow transformer; j runs over pretraining data.

Every random number of a training step is drawn for the whole batch from (stream, step); a rank takes its rows.
So a resumed run needs no state of a generator, and the number of GPUs changes rounding only. On several GPUs:
torchrun --nproc-per-node={gpus} diffusers_engine.py run DIR.
"""
import contextlib
import copy
import functools
import json
import os
from pathlib import Path

from ablate_engine import Engine, Failed, Refused, boolean, integer, lazy, located, noise, number, step_seed, string

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products of matrices
diffusers, peft, torch, F = lazy("diffusers"), lazy("peft"), lazy("torch"), lazy("torch.nn.functional")
Image, safetensors = lazy("PIL.Image"), lazy("safetensors.torch")


def without_gradients(f):
    @functools.wraps(f)
    def inner(*args, **named):
        with torch.no_grad():
            return f(*args, **named)
    return inner


PACKAGES = ["torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy", "pillow"]
engine = Engine("diffusers", "1", packages=PACKAGES, understands=["emit:noise", "emit:samples"])
SCHEDULERS = {"ddim": "DDIMScheduler", "ddpm": "DDPMScheduler", "pndm": "PNDMScheduler", "euler": "EulerDiscreteScheduler",
              "dpmsolver++": "DPMSolverMultistepScheduler", "flow-euler": "FlowMatchEulerDiscreteScheduler"}
CACHE = 8192  # latents and text states that a training keeps in memory


def all_but(*names):
    return [s for s in ["checkpoint", *SCHEDULERS] if s not in names]


# ---- Models.

class UNet:
    """Stable Diffusion 1, 2 and XL: a U-Net that predicts noise or velocity at one of 1,000 times."""

    part = "unet"

    def __init__(self, pipe):
        self.pipe, self.xl = pipe, hasattr(pipe, "text_encoder_2")
        self.channels, self.factor = pipe.unet.config.in_channels, pipe.vae_scale_factor
        self.schedule = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
        self.prediction = self.schedule.config.prediction_type

    def condition(self, prompt):
        """What the network is given of one prompt."""
        states, _, *pooled = self.pipe.encode_prompt(
            prompt=prompt, device=self.pipe.device, num_images_per_prompt=1, do_classifier_free_guidance=False)
        return {"states": states, "pooled": pooled[0]} if self.xl else {"states": states}

    def diffuse(self, x0, eps, u):
        """The noisy latents at the times u in [0, 1), those times as the network takes them, and the target."""
        t = (u * self.schedule.config.num_train_timesteps).long()
        target = self.schedule.get_velocity(x0, eps, t) if self.prediction == "v_prediction" else eps
        return self.schedule.add_noise(x0, eps, t), t, target

    def predict(self, x, t, condition):
        more = {}
        if self.xl:
            height, width = (self.factor * n for n in x.shape[2:])
            times = torch.tensor([[height, width, 0, 0, height, width]] * len(x), device=x.device)
            more["added_cond_kwargs"] = {"text_embeds": condition["pooled"], "time_ids": times}
        return self.pipe.unet(x, t, encoder_hidden_states=condition["states"], **more).sample

    # The pipeline's form of latents [n, C, H, W], and back.
    def pack(self, x): return x
    def unpack(self, x, height, width): return x

    def arguments(self, rows, guidance):
        return {"guidance_scale": guidance, "negative_prompt": [row.get("negative") or "" for row in rows]}


class Flow(UNet):
    """Stable Diffusion 3: a transformer that predicts eps - x0 on the line x = (1 - s) x0 + s eps."""

    part, prediction = "transformer", "flow"

    def __init__(self, pipe):
        self.pipe, config = pipe, pipe.scheduler.config
        self.channels, self.factor = pipe.transformer.config.in_channels, pipe.vae_scale_factor
        self.shift = 1.0 if config.use_dynamic_shifting else config.shift

    def condition(self, prompt):
        states, _, pooled, _ = self.pipe.encode_prompt(
            prompt=prompt, prompt_2=None, prompt_3=None, device=self.pipe.device, do_classifier_free_guidance=False)
        return {"states": states, "pooled": pooled}

    def diffuse(self, x0, eps, u):
        s = self.shift * u / (1 + (self.shift - 1) * u)
        line = s.view(-1, 1, 1, 1)
        return (1 - line) * x0 + line * eps, s, eps - x0

    def predict(self, x, s, condition):
        return self.pipe.transformer(hidden_states=x, timestep=1000 * s, encoder_hidden_states=condition["states"],
                                     pooled_projections=condition["pooled"]).sample


class Flux(Flow):
    """FLUX: the same on latents packed in 2 x 2 patches. FLUX.1-dev takes the guidance as an input: 1 in training."""

    def __init__(self, pipe):
        super().__init__(pipe)
        self.channels = pipe.transformer.config.in_channels // 4

    def condition(self, prompt):
        states, pooled, _ = self.pipe.encode_prompt(prompt=prompt, prompt_2=None, device=self.pipe.device)
        return {"states": states, "pooled": pooled}

    def predict(self, x, s, condition):
        n, _, height, width = x.shape
        places = self.pipe._prepare_latent_image_ids(n, height // 2, width // 2, x.device, x.dtype)
        guidance = torch.ones(n, device=x.device) if self.pipe.transformer.config.guidance_embeds else None
        out = self.pipe.transformer(
            hidden_states=self.pack(x), timestep=s, guidance=guidance, img_ids=places,
            txt_ids=torch.zeros(condition["states"].shape[1], 3, device=x.device, dtype=x.dtype),
            encoder_hidden_states=condition["states"], pooled_projections=condition["pooled"]).sample
        return self.unpack(out, height * self.factor, width * self.factor)

    def pack(self, x): return self.pipe._pack_latents(x, *x.shape)
    def unpack(self, x, height, width): return self.pipe._unpack_latents(x, height, width, self.factor)

    def arguments(self, rows, guidance):
        if any(row.get("negative") for row in rows):
            raise Refused("FLUX takes no negative prompts")
        return {"guidance_scale": guidance}


FAMILIES = {"StableDiffusionPipeline": UNet, "StableDiffusionXLPipeline": UNet, "StableDiffusion3Pipeline": Flow, "FluxPipeline": Flux}


def device():
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")


def pipeline(root, dtype):
    index = json.loads(Path(root, "model_index.json").read_text())
    if index["_class_name"] not in FAMILIES:
        raise Refused(f"{root} is a {index['_class_name']}; this engine knows {', '.join(FAMILIES)}")
    # A safety checker would put black pictures into the rows: it is left out.
    without = {"safety_checker": None} if "safety_checker" in index else {}
    dtypes = {"default": getattr(torch, dtype), "vae": torch.float32}  # float16 overflows in some of them
    pipe = diffusers.DiffusionPipeline.from_pretrained(root, dtype=dtypes, local_files_only=True, **without)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device())


KEPT = {}  # the base model that a worker keeps for its next task, by artifact id and type of numbers


def opened(task, role):
    """The model of a task's checkpoint."""
    folders = task.chain(role)
    if not folders:
        raise Refused(f"{task.verb} needs the input {role}")
    return model(folders, task.params.dtype, task.id(folders[0].name))


@contextlib.contextmanager
def model(folders, dtype, id):
    """A model from a chain of checkpoints. The base is as it was when the block ends."""
    abouts = [json.loads((folder / "checkpoint.json").read_text()) for folder in folders]
    if (id, dtype) not in KEPT:
        KEPT.clear()
        KEPT[id, dtype] = pipeline(abouts[0].get("root", str(folders[0])), dtype)
    pipe = KEPT[id, dtype]
    family = FAMILIES[type(pipe).__name__]
    untouched, scheduler = getattr(pipe, family.part), pipe.scheduler
    try:
        adapters = []
        for folder, about in list(zip(folders, abouts))[1:]:
            if about["format"] == "diffusers-lora":
                adapters.append(f"lora{len(adapters)}")
                pipe.load_lora_weights(folder, adapter_name=adapters[-1])
                pipe.set_adapters(adapters)
            elif about.get("replaces") == [family.part]:  # trained on top of what was below it: that is in it
                net = type(untouched).from_pretrained(folder / family.part, dtype=getattr(torch, dtype))
                setattr(pipe, family.part, net.to(device()))
                adapters = []
            else:
                raise Refused(f"{folder.name}: cannot read format {about['format']} that replaces {about.get('replaces')}")
        yield family(pipe)
    finally:
        pipe.unload_lora_weights()
        setattr(pipe, family.part, untouched)
        pipe.unload_lora_weights()
        pipe.scheduler = scheduler


# ---- load

@engine.verb(revision=1, params={
    "name": string("stable-diffusion-v1-5/stable-diffusion-v1-5",
                   "a folder, from that of cue.mod or below $ABLATE_MODELS, a repository in the Hugging Face cache, "
                   "or tiny-sd, tiny-sdxl, tiny-sd3 or tiny-flux: a random model for tests", probe=["tiny-sd", "tiny-sd3"]),
}, probe={"name": "tiny-sd"})
def load(task):
    name, out = task.params.name, task.out("checkpoint")
    if name.startswith("tiny-"):
        import tiny_models  # beside this file
        tiny_models.make(name, out)  # small enough to be the artifact itself
        return task.checkpoint(out, "diffusers", facts=facts_of(out))
    root = find(name)
    files = sorted(str(f.relative_to(root)) for f in needed(root))
    task.checkpoint(out, "diffusers", root=str(root), files=files, facts=facts_of(root))


def find(name):
    for folder in (located(name), Path(os.environ.get("ABLATE_MODELS", "/"), name)):
        if (folder / "model_index.json").exists():
            return folder.resolve()
    try:
        import huggingface_hub
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except Exception as error:
        raise Refused(f"name: {name} is no folder with a model_index.json, and not in the Hugging Face cache: {error}") from None


def needed(root):
    """The files that from_pretrained reads: of each component its settings, and its weights in one format."""
    index = json.loads((root / "model_index.json").read_text())
    yield root / "model_index.json"
    for part in [k for k in index if (root / k).is_dir() and k != "safety_checker"]:
        files = [f for f in (root / part).iterdir() if f.is_file() and ".fp16." not in f.name and ".non_ema." not in f.name]
        safe = any(f.suffix == ".safetensors" for f in files)
        yield from (f for f in files if f.suffix in (".json", ".txt", ".model", ".safetensors" if safe else ".bin"))


def facts_of(root):
    read = lambda name: json.loads((root / name).read_text()) if (root / name).exists() else {}
    net, vae = read("unet/config.json") or read("transformer/config.json"), read("vae/config.json")
    return {"class": read("model_index.json")["_class_name"], "latent_channels": vae.get("latent_channels", 4),
            "latent_factor": 2 ** (len(vae["block_out_channels"]) - 1), "net": net["_class_name"],
            "prediction": read("scheduler/scheduler_config.json").get("prediction_type", "flow")}


# ---- sample

@engine.verb(revision=1, serve=True, noise="torch-cpu", formats=["diffusers", "diffusers-lora"], params={
    "scheduler": string("ddim", "the sampler; checkpoint: as the model's folder has it", enum=["checkpoint", *SCHEDULERS],
                        probe=["ddim", "euler"]),
    "steps": integer(30, "calls of the model for one image", unit="steps", minimum=1, probe=[2, 4]),
    "guidance": number(7.5, "scale of classifier-free guidance; of FLUX the guidance that it was distilled with", minimum=0, probe=[1.0, 7.5]),
    "eta": number(0.0, "noise added in each step, as a part of DDPM's", minimum=0, maximum=1, unused={"scheduler": all_but("ddim")}, probe=[0.0, 1.0]),
    "spacing": string("leading", "how the steps lie in time", enum=["leading", "trailing", "linspace"],
                      unused={"scheduler": ["checkpoint", "flow-euler"]}, probe=["leading", "trailing"]),
    "karras": boolean(False, "noise levels of Karras et al. 2022", unused={"scheduler": all_but("euler", "dpmsolver++")}),
    "width": integer(512, "of a picture", unit="pixels", minimum=16, maximum=8192, probe=[32, 64]),
    "height": integer(512, "of a picture", unit="pixels", minimum=16, maximum=8192, probe=[32, 64]),
    "batch": integer(8, "images at a time; changes rounding only", unit="images", minimum=1, identity="record"),
    "dtype": string("float32", "of the weights", enum=["float32", "bfloat16", "float16"], probe=["float32", "bfloat16"]),
}, probe={"scheduler": "ddim", "steps": 3, "guidance": 3.0, "eta": 0.5, "spacing": "leading", "width": 32, "height": 32, "batch": 4, "dtype": "float32"})
def sample(task):
    deterministic()
    with opened(task, "checkpoint") as m:
        noises = draw(m, task.rows("prompts"), task.params, task.out("images"), task)
        if "noise" in task.emit:
            safetensors.save_file({"noise": noises}, task.dir / "emit" / "noise.safetensors")


def deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def scheduler(base, p):
    """The scheduler that the parameters ask for, with the noise schedule of the model's own."""
    flow = "FlowMatch" in type(base).__name__
    if p.scheduler == "checkpoint":
        return type(base).from_config(base.config)
    if flow != (p.scheduler == "flow-euler"):
        raise Refused(f"scheduler: {p.scheduler} does not fit this model, whose own is {type(base).__name__}")
    options = {} if flow else {"timestep_spacing": p.spacing}
    if p.scheduler in ("ddim", "ddpm"):
        options["clip_sample"] = False  # latents have no bounds
    if p.scheduler == "pndm":
        options["skip_prk_steps"] = True  # as every checkpoint of Stable Diffusion has it
    if p.karras is not None:
        options["use_karras_sigmas"] = p.karras
    return getattr(diffusers, SCHEDULERS[p.scheduler]).from_config(base.config, **options)


@without_gradients
def draw(m, rows, p, folder, task):
    """Draws rows into a folder, and returns the noise they began from. Rows of the output are the task's."""
    m.pipe.scheduler, dtype = scheduler(m.pipe.scheduler, p), getattr(torch, p.dtype)
    shape = (1, m.channels, p.height // m.factor, p.width // m.factor)
    config, noises = m.pipe.vae.config, []
    for i in range(0, len(rows), p.batch):
        batch = rows[i:i + p.batch]
        starts, generators = zip(*(noise(row["seed"], shape) for row in batch))
        noises += starts
        latents = m.pipe(
            prompt=[row["prompt"] for row in batch], latents=m.pack(torch.cat(starts)).to(device(), dtype),
            generator=list(generators), num_inference_steps=p.steps, width=p.width, height=p.height, output_type="latent",
            **({"eta": p.eta} if p.eta is not None else {}), **m.arguments(batch, p.guidance)).images
        latents = m.unpack(latents, p.height, p.width).float() / config.scaling_factor + (config.get("shift_factor") or 0.0)
        images = m.pipe.image_processor.postprocess(m.pipe.vae.decode(latents).sample, output_type="pil")
        for row, image in zip(batch, images):
            image.save(folder / f"{row['index']}.png")
            if task.verb == "sample":
                cut = {"truncated": True} if truncated(m.pipe, row["prompt"]) else {}
                task.row("images", index=row["index"], file=f"{row['index']}.png", **cut)
        if task.verb == "sample":
            task.progress(step=i + len(batch), of=len(rows))
    return torch.cat(noises)


def truncated(pipe, prompt):
    """Whether every text encoder of the model sees only the beginning of the prompt."""
    tokenizers = [t for t in (getattr(pipe, f"tokenizer{n}", None) for n in ("", "_2", "_3")) if t]
    return all(len(t(prompt).input_ids) > t.model_max_length for t in tokenizers)


# ---- train

@engine.verb(revision=1, stop="file", resume="exact", repeat="bytes", readback=True, world="same", keeps=True,
             seeds=["init", "order", "noise"], format="diffusers-lora", formats=["diffusers", "diffusers-lora"],
             inputs={"base": {}, "images": {"columns": ["prompt", "score"]}, "pairs": {"when": {"method": ["dpo"]}},
                     "pretraining": {"when": {"beta": {"above": 0}}}},
             params={
    "method": string("reward-weighted", "the loss", enum=["reward-weighted", "softmax-weighted", "filtered", "dpo"], probe=["reward-weighted", "filtered"]),
    "temperature": number(0.2, "of the softmax over the scores of all images", above=0, unused={"method": ["reward-weighted", "filtered", "dpo"]}, probe=[0.05, 1.0]),
    "dpo_beta": number(5000.0, "strength of the tie to the base", above=0, unused={"method": ["reward-weighted", "softmax-weighted", "filtered"]}, probe=[10.0, 5000.0]),
    "beta": number(0.0, "weight of the loss on pretraining data", minimum=0, probe=[0.0, 1.0]),
    "steps": integer(1000, "updates", unit="steps", minimum=1, probe=[3, 6]),
    "batch": integer(64, "images of a step on all GPUs, and as many of the pretraining data; pairs for dpo", unit="images", minimum=1, probe=[2, 4]),
    "micro": integer(8, "images that a GPU takes at a time; changes rounding only", unit="images", minimum=1, identity="record"),
    "learning_rate": number(1e-4, "of AdamW; 1e-5 is usual for all weights", above=0, probe=[1e-4, 1e-2]),
    "warmup": integer(0, "steps in which the learning rate rises linearly", unit="steps", minimum=0, probe=[0, 5]),
    "weight_decay": number(0.01, "of AdamW", minimum=0, probe=[0.0, 1.0]),
    "beta1": number(0.9, "of AdamW", minimum=0, maximum=0.9999, probe=[0.0, 0.99]),
    "beta2": number(0.999, "of AdamW", minimum=0, maximum=0.999999, probe=[0.5, 0.999]),
    "clip": number(1.0, "largest norm of the gradient; 0: not clipped", minimum=0, probe=[1e-4, 1000.0]),
    "drop": number(0.0, "part of the prompts that become empty, for guidance", minimum=0, maximum=1, probe=[0.0, 1.0]),
    "times": string("uniform", "how the noise levels are drawn", enum=["uniform", "logit-normal"]),
    "size": integer(512, "width and height to which images are resized and cropped", unit="pixels", minimum=16, probe=[32, 64]),
    "lora": {
        "rank": integer(16, "of the LoRA on the attention; 0: all weights are trained", minimum=0, probe=[2, 4]),
        "alpha": number(16.0, "the LoRA is scaled by alpha / rank", above=0, unused={"lora.rank": [0]}, probe=[2.0, 16.0]),
    },
    "dtype": string("float32", "of frozen weights and of products; trained weights are float32", enum=["float32", "bfloat16"]),
    "checkpointing": boolean(False, "computes activations twice to save memory", identity="record"),
}, probe={"method": "reward-weighted", "beta": 0.5, "steps": 6, "batch": 4, "micro": 4, "learning_rate": 1e-3, "warmup": 2,
          "weight_decay": 0.02, "beta1": 0.8, "beta2": 0.99, "clip": 0.5, "drop": 0.25, "times": "logit-normal", "size": 32,
          "lora": {"rank": 4, "alpha": 8.0}, "dtype": "float32", "checkpointing": False})
def train(task):
    p = task.params
    deterministic()
    agree, total = ranks(task)
    task.progress(note="loading")
    with opened(task, "base") as m:
        m.pipe.fuse_lora() if m.pipe.get_list_adapters() else None  # a LoRA below becomes part of the base
        m.pipe.unload_lora_weights()
        fit(task, m, agree, total, Offline(task, m))


class Offline:
    """Where the batches of a training come from: here rows that ablate has made. An online method replaces it."""

    def __init__(self, task, m):
        p = task.params
        images = Images(m, task.rows("images"), p)
        items = task.rows("pairs") if p.method == "dpo" else images.rows
        self.paired, self.parts = p.method == "dpo", {"images": (images, items, row_weights(p, items))}
        if p.beta > 0:
            pretraining = Images(m, task.rows("pretraining"), p)
            self.parts["pretraining"] = (pretraining, pretraining.rows, [p.beta] * len(pretraining.rows))

    def at(self, step):
        """By name of a stream, images, the items that batches of this step are drawn from, and their weights."""
        return self.parts

    def write(self, folder): pass  # what a resumed run needs
    def read(self, folder): pass


def ranks(task):
    """How a number of the first rank reaches all, and how tensors of all ranks are added."""
    if task.world == 1:
        return lambda x: x, lambda x: x
    if task.params.batch < task.world:
        raise Refused(f"batch: {task.params.batch} images are fewer than {task.world} GPUs")
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(device())

    def agree(value):
        box = [value]
        torch.distributed.broadcast_object_list(box)
        return box[0]

    def total(x):
        torch.distributed.all_reduce(x)
        return x
    return agree, total


def fit(task, m, agree, total, source):
    p, net, part = task.params, getattr(m.pipe, m.part), m.part
    for module in m.pipe.components.values():
        if isinstance(module, torch.nn.Module):
            module.requires_grad_(False)
    if p.lora.rank:
        torch.manual_seed(task.seed("init"))
        net.add_adapter(peft.LoraConfig(r=p.lora.rank, lora_alpha=p.lora.alpha, init_lora_weights="gaussian", target_modules=[
            "to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out"]))
        weights = [w for name, w in net.named_parameters() if "lora_" in name]
        reference = None  # the net without its adapter
    else:
        reference = copy.deepcopy(net) if source.paired else None
        weights = list(net.parameters())
    for w in weights:
        w.data = w.data.float()
        w.requires_grad_(True)
    net.train()  # no dropout in these networks; gradient checkpointing asks for it
    if p.checkpointing:
        net.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(weights, lr=p.learning_rate, betas=(p.beta1, p.beta2), eps=1e-8, weight_decay=p.weight_decay)

    def batch_loss(step, stream, data, items, item_weight):
        """The loss of one batch, and its gradient: drawn for the whole batch, computed on this rank's items."""
        draws = torch.Generator("cpu").manual_seed(step_seed(task.seed("noise"), f"{step} {stream}"))
        n, size = p.batch, p.size // m.factor
        eps, grain = (torch.randn(n, m.channels, size, size, generator=draws) for _ in range(2))
        u, dropped = torch.rand(n, generator=draws), torch.rand(n, generator=draws) < p.drop
        normal = torch.randn(n, generator=draws)
        u = torch.sigmoid(normal) if p.times == "logit-normal" else u
        chosen = [order(task.seed("order"), stream, len(items), k) for k in range((step - 1) * n, step * n)]
        mine, loss = range(n)[task.rank * n // task.world:(task.rank + 1) * n // task.world], 0.0
        for start in range(0, len(mine), p.micro):
            part = list(mine[start:start + p.micro])
            rows = [items[chosen[i]] for i in part]
            e, g, t = (x[part].to(device()) for x in (eps, grain, u))

            def losses(rows):
                x0 = data.latents(rows, g)
                c = data.conditions(["" if dropped[i] else row["prompt"] for i, row in zip(part, rows)])
                return denoising_loss(m, x0, e, t, c, p.dtype)
            if source.paired and stream == "images":
                better, worse = ([data.by_index[row[k]] for row in rows] for k in ("better", "worse"))
                with torch.no_grad(), without_training(m, net, reference):
                    base = losses(better) - losses(worse)
                row_loss = dpo_loss(losses(better) - losses(worse), base, p.dpo_beta)
            else:
                row_loss = losses(rows)
            value = (row_loss * torch.tensor([item_weight[chosen[i]] for i in part], device=device())).sum() / n
            value.backward()
            loss += value.item()
        return loss

    def write_checkpoint(folder):
        base = {"base": "base", "weights": "raw", "dtype": "float32"}
        if not p.lora.rank:
            net.save_pretrained(folder / part)
            config = json.loads((folder / part / "config.json").read_text())
            config.pop("_name_or_path", None)  # the folder of this attempt
            (folder / part / "config.json").write_text(json.dumps(config, indent=1))
            return task.checkpoint(folder, "diffusers", replaces=[part], **base)
        about = {k: sorted(v) if isinstance(v, set) else v for k, v in net.peft_config["default"].to_dict().items()}
        type(m.pipe).save_lora_weights(folder, **{  # without the metadata, alpha would be lost
            f"{part}_lora_layers": peft.get_peft_model_state_dict(net), f"{part}_lora_adapter_metadata": about})
        task.checkpoint(folder, "diffusers-lora", rank=p.lora.rank, alpha=p.lora.alpha, **base)

    def write_state(folder):
        torch.save({"weights": [w.data for w in weights], "optimizer": optimizer.state_dict()}, folder / "state.pt")
        source.write(folder)

    folder, start = task.resume()
    if folder:
        state = torch.load(folder / "state.pt", map_location=device())
        for w, saved in zip(weights, state["weights"], strict=True):
            w.data.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        source.read(folder)
    for step in range(start + 1, p.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = p.learning_rate * min(1.0, step / max(1, p.warmup))
        loss = sum(batch_loss(step, stream, *part) for stream, part in source.at(step).items())
        for grad in [w.grad for w in weights if w.grad is not None]:  # flow transformers have weights that nothing uses
            total(grad)
        norm = torch.nn.utils.clip_grad_norm_(weights, p.clip or float("inf"))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        loss = total(torch.tensor(loss, dtype=torch.float64, device=device())).item()
        task.curve(step, p.steps, loss=loss, grad_norm=norm.item(), learning_rate=optimizer.param_groups[0]["lr"])
        task.keep(step, write_checkpoint)
        if task.due(agree):
            task.save(step, write_state)

    if task.rank == 0:
        write_checkpoint(task.out("checkpoint"))
    task.resolved(**read_back(p, net, optimizer))
    if "samples" in task.emit and task.rank == 0:
        net.eval()
        (task.dir / "emit" / "samples").mkdir(parents=True)
        draw(m, task.rows("samples"), task.sample_params(), task.dir / "emit" / "samples", task)


def denoising_loss(m, x0, eps, u, condition, dtype):
    """The loss of each row: the mean over the entries of its latent."""
    x, t, target = m.diffuse(x0, eps, u)
    with torch.autocast(device().type, getattr(torch, dtype), enabled=dtype != "float32"):
        got = m.predict(x, t, condition)
    return F.mse_loss(got.float(), target, reduction="none").mean(dim=(1, 2, 3))


def dpo_loss(difference, base, beta):
    return -F.logsigmoid(-beta / 2 * (difference - base))


@contextlib.contextmanager
def without_training(m, net, reference):
    """The network as it was before training: without its adapter, or a copy."""
    if reference is None:
        net.disable_adapters()
    else:
        setattr(m.pipe, m.part, reference)
    yield
    if reference is None:
        net.enable_adapters()
    else:
        setattr(m.pipe, m.part, net)


def row_weights(p, rows):
    if p.method == "filtered":
        return [1.0] * len(rows)
    if p.method == "dpo":
        return [row.get("weight", 1.0) for row in rows]
    scores = [row["score"] if "score" in row else float(row["label"] == "good") for row in rows]
    if p.method == "softmax-weighted":
        return (len(rows) * torch.softmax(torch.tensor(scores, dtype=torch.float64) / p.temperature, 0)).tolist()
    if min(scores) < 0:
        raise Refused(f"a score is {min(scores)}: a weight below 0 has no likelihood; softmax-weighted takes any score")
    return scores


def read_back(p, net, optimizer):
    """The parameters as the live program has them."""
    group, steps = optimizer.param_groups[0], int(next(iter(optimizer.state.values()))["step"])
    lora = next(iter(net.peft_config.values())) if p.lora.rank else None
    live = {**p, "steps": steps, "weight_decay": group["weight_decay"], "beta1": group["betas"][0], "beta2": group["betas"][1],
            "learning_rate": group["lr"] if steps >= p.warmup else p.learning_rate,
            "lora": {"rank": lora.r, "alpha": lora.lora_alpha} if lora else {"rank": 0}}
    return {k: v for k, v in live.items() if v is not None}


def order(seed, stream, n, k):
    """The row at place k of an endless list of epochs, each a permutation that is known without the ones before."""
    return epoch(step_seed(seed, f"{k // n} {stream}"), n)[k % n]


@functools.lru_cache(maxsize=4)
def epoch(seed, n):
    return torch.randperm(n, generator=torch.Generator("cpu").manual_seed(seed)).tolist()


class Images:
    """Training images. Latents and text states are computed once and one by one, so no batch changes them."""

    def __init__(self, m, rows, p):
        self.m, self.rows, self.size = m, rows, p.size
        self.by_index = {row["index"]: row for row in rows}
        self.moments = functools.lru_cache(maxsize=CACHE)(self._moments)
        self.condition = functools.lru_cache(maxsize=CACHE)(self._condition)

    @without_gradients
    def _moments(self, file):
        image = Image.open(file).convert("RGB")
        scale = self.size / min(image.size)
        if scale != 1:
            image = image.resize([max(self.size, round(n * scale)) for n in image.size], Image.Resampling.LANCZOS)
        left, top = ((n - self.size) // 2 for n in image.size)
        image = image.crop((left, top, left + self.size, top + self.size))
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, self.size, self.size, 3)
        latent = self.m.pipe.vae.encode(pixels.permute(0, 3, 1, 2).to(device()).float() / 127.5 - 1).latent_dist
        return latent.mean, latent.std

    @without_gradients
    def _condition(self, prompt):
        return self.m.condition(prompt)

    def latents(self, rows, grain):
        """Draws from the encoder's normal distribution, by given standard normal numbers."""
        means, stds = (torch.cat(x) for x in zip(*(self.moments(row["file"]) for row in rows)))
        config = self.m.pipe.vae.config
        return (means + stds * grain - (config.get("shift_factor") or 0.0)) * config.scaling_factor

    def conditions(self, prompts):
        each = [self.condition(prompt) for prompt in prompts]
        return {k: torch.cat([c[k] for c in each]) for k in each[0]}


if __name__ == "__main__":
    engine.main()
