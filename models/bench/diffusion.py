"""The benchmark's computations with Stable Diffusion in PyTorch and diffusers, eager or by torch.compile, whichever is faster here.

    diffusion.py FILE CASE TASK

Reads the inputs that the Go side wrote and the task's JSON, prints the first results, and then, for every line "N" on
stdin, does the computation N times and prints the seconds that they took: those of the clock, and those of the CPU.
"""
import functools, hashlib, json, shutil, sys, time, warnings

import diffusers
import peft
import safetensors.torch
import torch
import transformers

transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore")
torch.set_num_threads(1)
data = safetensors.torch.load_file(sys.argv[1])
case, task = sys.argv[2], json.loads(sys.argv[3])
recipe, seeds, prompts = task["recipe"], task["seeds"], task["prompts"]


def images(name):
    return data[name].permute(0, 3, 1, 2).contiguous()


def load():
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(task["checkpoint"], safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False)
    return pipe


def encode(pipe, texts):
    ids = pipe.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return pipe.text_encoder(ids)[0]


def seeded(seed, what):
    """The generator that models/stable uses for the draws of a step or an epoch."""
    digest = hashlib.sha256(f"{seed} {what}".encode()).digest()
    return torch.Generator().manual_seed(1 + int.from_bytes(digest[:4], "big") % (2**31 - 1))


def training(compiled):
    """Ten losses and norms of gradients of a fine-tuning weighted by rewards, and its step."""
    pipe, n = load(), recipe["batch"]
    unet, schedule = pipe.unet, diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    if recipe["lora"]["rank"]:
        torch.manual_seed(seeds["Init"])
        unet.add_adapter(peft.LoraConfig(r=recipe["lora"]["rank"], lora_alpha=recipe["lora"]["alpha"], init_lora_weights="gaussian",
                                         target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    else:
        unet.requires_grad_(True)
    weights = [w for w in unet.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe["learning_rate"], betas=(recipe["beta1"], recipe["beta2"]), eps=1e-8,
                                  weight_decay=recipe["weight_decay"], fused=True)
    with torch.no_grad():
        states = encode(pipe, prompts)
    if compiled:
        unet.compile()
    mean, std, weight, count = images("mean"), images("std"), data["weight"], len(data["mean"])
    epoch = functools.lru_cache(2)(lambda e: torch.randperm(count, generator=seeded(seeds["Order"], f"{e} images")).tolist())
    step = 0

    def take():
        nonlocal step
        step += 1
        draws = seeded(seeds["Noise"], f"{step} images")
        eps, grain = (torch.randn(n, *mean.shape[1:], generator=draws) for _ in range(2))
        t = (torch.rand(n, generator=draws) * schedule.config.num_train_timesteps).long()
        chosen = [epoch(k // count)[k % count] for k in range((step - 1) * n, step * n)]
        x0 = pipe.vae.config.scaling_factor * (mean[chosen] + std[chosen] * grain)
        c = states[[i % len(prompts) for i in chosen]]
        got = unet(schedule.add_noise(x0, eps, t), t, c, return_dict=False)[0]
        loss = ((got - eps).square().mean((1, 2, 3)) * weight[chosen]).sum() / n
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, recipe["clip"])
        optimizer.step()
        optimizer.zero_grad()
        return loss.item(), norm.item()

    return [x for _ in range(10) for x in take()], take


def sampling(compiled):
    """The bytes of the images of all prompts, and the draw."""
    pipe = load()
    if compiled:
        pipe.unet.compile()
        pipe.text_encoder.compile()
        pipe.vae.decode = torch.compile(pipe.vae.decode)
    schedule = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    schedule.set_timesteps(task["steps"])

    @torch.inference_mode()
    def take():
        x, states = images("noise"), encode(pipe, [""] * len(prompts) + prompts)
        for t in schedule.timesteps:
            without, given = pipe.unet(torch.cat([x, x]), t, states, return_dict=False)[0].chunk(2)
            x = schedule.step(without + task["guidance"] * (given - without), t, x, return_dict=False)[0]
        pixels = pipe.vae.decode(x / pipe.vae.config.scaling_factor, return_dict=False)[0]
        return ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).flatten().tolist()

    return take(), take


def seconds(take):
    start = time.perf_counter()
    take()
    return time.perf_counter() - start


prepare, forms = (sampling if case == "sd-sample" else training), {}
for name in ("eager", "compiled") if shutil.which("g++") else ("eager",):  # torch.compile calls it
    first, take = prepare(name == "compiled")
    forms[name] = min(seconds(take) for _ in range(10)), first, take
name = min(forms, key=lambda k: forms[k][0])
print(f"{case}: PyTorch {name}: " + ", ".join(f"{k} {1000 * forms[k][0]:.1f} ms" for k in forms), file=sys.stderr)
_, first, take = forms.pop(name)
print(json.dumps(first), flush=True)
for line in sys.stdin:
    n = int(line)
    start, used = time.perf_counter(), time.process_time()
    for _ in range(n):
        take()
    print(json.dumps([time.perf_counter() - start, time.process_time() - used]), flush=True)
