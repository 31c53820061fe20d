"""The computations of `bench gpu` in PyTorch alone, with the names of diffusers' files: no diffusers is needed.

    gpu.py FILE CASE TASK

Reads the inputs that the Go side wrote and the task's JSON, prints the first results, and then, for every line "N" on
stdin, does the computation N times and prints the seconds that they took, those of the clock and those of the CPU.
For the line "facts" it prints what it ran on, and the most memory that it had.
"""
import hashlib, json, resource, sys, time
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import nn


class Resnet(nn.Module):
    """ResnetBlock2D."""

    def __init__(self, inside, outside, time, groups, eps):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inside, eps), nn.Conv2d(inside, outside, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, outside) if time else None
        self.norm2, self.conv2 = nn.GroupNorm(groups, outside, eps), nn.Conv2d(outside, outside, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x, time=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, width, heads, text, bias=False):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(n, width, bias) for n in (width, text, text))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, text):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (self.to_q(x), self.to_k(text), self.to_v(text)))
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class Layer(nn.Module):
    """BasicTransformerBlock."""

    def __init__(self, width, heads, text):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, heads, width), Attention(width, heads, text)
        self.ff = nn.Module()
        self.ff.net = nn.Sequential(GEGLU(width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x, text):
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), text)
        return x + self.ff.net(self.norm3(x))


class Transformer(nn.Module):
    """Transformer2DModel with one layer."""

    def __init__(self, width, heads, text, groups):
        super().__init__()
        self.norm, self.proj_in = nn.GroupNorm(groups, width, 1e-6), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([Layer(width, heads, text)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x, text):
        h = self.proj_in(self.norm(x)).permute(0, 2, 3, 1)
        h = self.transformer_blocks[0](h.flatten(1, 2), text).view(h.shape)
        return x + self.proj_out(h.permute(0, 3, 1, 2))


class Sample(nn.Module):
    """Downsample2D, Upsample2D."""

    def __init__(self, width, up):
        super().__init__()
        self.up, self.conv = up, nn.Conv2d(width, width, 3, 1 if up else 2, 1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0) if self.up else x)


class Block(nn.Module):
    """A block of the network, whose resnets have the given numbers of inputs."""

    def __init__(self, inside, outside, time, groups, eps, attention=None, sample=None):
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(n, outside, time, groups, eps) for n in inside)
        if attention:
            self.attentions = nn.ModuleList(attention() for _ in inside)
        if sample:
            setattr(self, f"{sample}samplers", nn.ModuleList([Sample(outside, sample == "up")]))
        self.attends, self.sample = attention is not None, sample

    def resample(self, x):
        return getattr(self, f"{self.sample}samplers")[0](x) if self.sample else x

    def layer(self, i, x, time, text):
        x = self.resnets[i](x, time)
        return self.attentions[i](x, text) if self.attends else x


class UNet(nn.Module):
    """UNet2DConditionModel as Stable Diffusion 1 has it, by its config.json."""

    def __init__(self, config):
        super().__init__()
        c = {"in_channels": 4, "out_channels": 4, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "attention_head_dim": 8, "norm_num_groups": 32,
             "down_block_types": 3 * ["CrossAttnDownBlock2D"] + ["DownBlock2D"], "up_block_types": ["UpBlock2D"] + 3 * ["CrossAttnUpBlock2D"], **config}
        widths, layers, groups, text, heads = (c[k] for k in ("block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim"))
        first, last = widths[0], len(widths) - 1
        time = 4 * first
        self.half = first // 2

        def block(inside, width, kind, sample):
            return Block(inside, width, time, groups, 1e-5, (lambda: Transformer(width, heads, text, groups)) if kind.startswith("CrossAttn") else None, sample)

        self.conv_in = nn.Conv2d(c["in_channels"], first, 3, padding=1)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1, self.time_embedding.linear_2 = nn.Linear(first, time), nn.Linear(time, time)
        self.down_blocks, skips, x = nn.ModuleList(), [first], first
        for i, (width, kind) in enumerate(zip(widths, c["down_block_types"])):
            self.down_blocks.append(block([x] + (layers - 1) * [width], width, kind, "down" if i < last else None))
            skips += (layers + (i < last)) * [width]
            x = width
        self.up_blocks = nn.ModuleList()
        for i, (width, kind) in enumerate(zip(widths[::-1], c["up_block_types"])):
            self.up_blocks.append(block([n + skips.pop() for n in [x] + layers * [width]], width, kind, "up" if i < last else None))
            x = width
        width = widths[-1]
        self.mid_block = Block([width, width], width, time, groups, 1e-5)
        self.mid_block.attentions = nn.ModuleList([Transformer(width, heads, text, groups)])
        self.conv_norm_out, self.conv_out = nn.GroupNorm(groups, first, 1e-5), nn.Conv2d(first, c["out_channels"], 3, padding=1)

    def forward(self, x, t, text):
        angle = t[:, None] * torch.exp(torch.arange(self.half, device=x.device) * (-torch.log(torch.tensor(10000.0)) / self.half))
        time = self.time_embedding.linear_1(torch.cat([angle.cos(), angle.sin()], 1).to(self.conv_in.weight.dtype))
        time = F.silu(self.time_embedding.linear_2(F.silu(time)))
        x = self.conv_in(x)
        skips = [x]
        for b in self.down_blocks:
            for i in range(len(b.resnets)):
                x = b.layer(i, x, time, text)
                skips.append(x)
            if b.sample:
                x = b.resample(x)
                skips.append(x)
        m = self.mid_block
        x = m.resnets[1](m.attentions[0](m.resnets[0](x, time), text), time)
        for b in self.up_blocks:
            for i in range(len(b.resnets)):
                x = b.layer(i, torch.cat([x, skips.pop()], 1), time, text)
            x = b.resample(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    """The decoder of AutoencoderKL."""

    def __init__(self, config):
        super().__init__()
        c = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 32, **config}
        widths, groups = c["block_out_channels"][::-1], c["norm_num_groups"]
        width = widths[0]
        self.post_quant_conv = nn.Conv2d(c["latent_channels"], c["latent_channels"], 1)
        self.decoder = d = nn.Module()
        d.conv_in = nn.Conv2d(c["latent_channels"], width, 3, padding=1)
        d.mid_block = Block([width, width], width, None, groups, 1e-6)
        d.mid_block.attentions = nn.ModuleList([Attention(width, 1, width, True)])
        d.mid_block.attentions[0].group_norm = nn.GroupNorm(groups, width, 1e-6)
        d.up_blocks = nn.ModuleList()
        for i, w in enumerate(widths):
            d.up_blocks.append(Block([width] + c["layers_per_block"] * [w], w, None, groups, 1e-6, sample="up" if i < len(widths) - 1 else None))
            width = w
        d.conv_norm_out, d.conv_out = nn.GroupNorm(groups, width, 1e-6), nn.Conv2d(width, c["out_channels"], 3, padding=1)

    def forward(self, x):
        d = self.decoder
        x = d.mid_block.resnets[0](d.conv_in(self.post_quant_conv(x)))
        a = d.mid_block.attentions[0]
        h = a.group_norm(x).permute(0, 2, 3, 1)
        y = h.flatten(1, 2)
        x = d.mid_block.resnets[1](x + a(y, y).view(h.shape).permute(0, 3, 1, 2))
        for b in d.up_blocks:
            for r in b.resnets:
                x = r(x)
            x = b.resample(x)
        return d.conv_out(F.silu(d.conv_norm_out(x)))


def build(network, folder):
    """A network with the weights of a component's folder, in their type."""
    folder = Path(folder)
    with torch.device("meta"):
        net = network(json.loads((folder / "config.json").read_text()))
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    net.load_state_dict({k: weights[k] for k in net.state_dict()}, assign=True)
    return net.requires_grad_(False)


class LoRA(nn.Module):
    """A layer and its update, as peft initializes it."""

    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale, self.on = layer, alpha / rank, True
        self.a, self.b = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
        nn.init.normal_(self.a.weight, std=1 / rank)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        y = self.layer(x)
        return y + self.scale * self.b(self.a(x)) if self.on else y


def adapt(net, rank, alpha):
    """Adds updates to all layers of attention, and returns them."""
    updates = []
    for attention in [m for m in net.modules() if isinstance(m, Attention)]:
        for holder, name in [(attention, "to_q"), (attention, "to_k"), (attention, "to_v"), (attention.to_out, "0")]:
            updates.append(LoRA(getattr(holder, name), rank, alpha))
            setattr(holder, name, updates[-1])
    return updates


def seeded(seed, what):
    """The generator that models/stable uses for the draws of a step or an epoch."""
    digest = hashlib.sha256(f"{seed} {what}".encode()).digest()
    return torch.Generator().manual_seed(1 + int.from_bytes(digest[:4], "big") % (2**31 - 1))


class Case:
    """A case of the benchmark: its method `case` returns the first results and the computation."""

    def __init__(self, file, task):
        self.task, self.device = task, torch.device(task["device"])
        self.type = getattr(torch, task["precision"])
        self.data = load_file(file)
        self.folder = Path(task["checkpoint"])
        self.scaling = self.config("vae").get("scaling_factor", 0.18215)
        c = self.config("scheduler", "scheduler_config.json")
        betas = torch.linspace(c["beta_start"] ** 0.5, c["beta_end"] ** 0.5, c["num_train_timesteps"]) ** 2
        self.times, self.alphas = len(betas), torch.cumprod(1 - betas, 0)

    def config(self, part, name="config.json"):
        return json.loads((self.folder / part / name).read_text())

    def put(self, x):
        x = x.to(self.device)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    def images(self, name):
        return self.data[name].permute(0, 3, 1, 2).contiguous()

    def unet(self, dtype):
        return build(UNet, self.folder / "unet").to(self.device, dtype, memory_format=torch.channels_last)

    def text(self, ids):
        transformers.utils.logging.disable_progress_bar()
        model = transformers.CLIPTextModel.from_pretrained(self.folder / "text_encoder", dtype=self.type).to(self.device)
        with torch.no_grad():
            return model(ids.long().to(self.device))[0]

    def autocast(self):
        return torch.autocast(self.device.type, self.type, enabled=self.type != torch.float32)

    def compiled(self, f):
        return torch.compile(f) if self.task["form"] == "compiled" else f

    def training(self):
        """Losses and gradients' norms of a fine-tuning, and its step."""
        recipe, seeds, pairs = self.task["recipe"], self.task["seeds"], self.task["pairs"]
        n, rank = recipe["batch"], recipe["lora"]["rank"]
        unet = self.unet(self.type if rank else torch.float32)
        base, updates = None, []
        if rank:
            torch.manual_seed(seeds["Init"])
            updates = adapt(unet, rank, recipe["lora"]["alpha"])
            unet.to(self.device)
        else:
            if pairs:
                base = self.compiled(self.unet(self.type))
            unet.requires_grad_(True)
        weights = [w for w in unet.parameters() if w.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=recipe["learning_rate"], betas=(recipe["beta1"], recipe["beta2"]), eps=1e-8,
                                      weight_decay=recipe["weight_decay"], fused=True)
        states = self.text(self.data["ids"])
        net = self.compiled(unet)
        mean, std, weight = self.images("mean"), self.images("std"), self.data["weight"]
        count = len(mean)

        def inputs(step):
            """The inputs of a step, on the device: to draw them takes no time of it."""
            draws = seeded(seeds["Noise"], f"{step} images")
            eps, grain = (torch.randn(n, *mean.shape[1:], generator=draws) for _ in range(2))
            t = (torch.rand(n, generator=draws) * self.times).long()
            chosen = []
            for k in range((step - 1) * n, step * n):
                chosen.append(torch.randperm(count, generator=seeded(seeds["Order"], f"{k // count} images"))[k % count].item())
            a = self.alphas[t][:, None, None, None]
            shown = [chosen, [(i + 1) % count for i in chosen]] if pairs else [chosen]
            x = torch.cat([a.sqrt() * self.scaling * (mean[c] + std[c] * grain) + (1 - a).sqrt() * eps for c in shown])
            c = states[torch.tensor([i % len(states) for c in shown for i in c], device=self.device)]
            return self.put(x), self.put(eps.repeat(len(shown), 1, 1, 1)), self.put(t.repeat(len(shown))), c, self.put(weight[chosen] / n)

        steps = [inputs(i + 1) for i in range(self.task["compared"])]
        done = 0

        def losses(f, x, eps, t, c):
            with self.autocast():
                y = f(x, t, c)
            return (y.float() - eps).square().mean((1, 2, 3))

        def take():
            nonlocal done
            *x, w = steps[done % len(steps)]
            done += 1
            loss = losses(net, *x)
            if pairs:
                for u in updates:
                    u.on = False
                with torch.no_grad():
                    reference = losses(base or net, *x)
                for u in updates:
                    u.on = True
                better, worse = (loss - reference).chunk(2)
                loss = F.softplus(recipe["dpo_beta"] / 2 * (better - worse))
            loss = (loss * w).sum()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(weights, recipe["clip"])
            optimizer.step()
            optimizer.zero_grad()
            return loss, norm

        return [x.item() for _ in steps for x in take()], take

    full = lora = full_dpo = lora_dpo = training

    def forward(self):
        """The network's output, and the pass."""
        net = self.compiled(self.unet(self.type))
        x, c = self.put(self.images("noise")), self.text(self.data["ids"])
        t = torch.full((len(x),), 500, device=self.device)

        @torch.no_grad()
        def take():
            with self.autocast():
                return net(x, t, c).float()

        return take().permute(0, 2, 3, 1).flatten().tolist(), take

    def sample(self):
        """The bytes of images, and their drawing from the ids of their prompts."""
        net, vae = self.compiled(self.unet(self.type)), build(Decoder, self.folder / "vae")
        vae = self.compiled(vae.to(self.device, torch.float32, memory_format=torch.channels_last))
        noise, ids, n = self.put(self.images("noise")), self.data["ids"], len(self.data["ids"])
        states = self.text(torch.cat([self.data["empty"].expand(n, -1), ids]))
        stride = self.times // self.task["steps"]

        @torch.no_grad()
        def take():
            x = noise
            for k in range(self.task["steps"] - 1, -1, -1):  # DDIM
                t = k * stride + 1
                a, before = self.alphas[t].item(), self.alphas[max(t - stride, 0)].item()
                with self.autocast():
                    without, given = net(torch.cat([x, x]), torch.full((2 * n,), t, device=self.device), states).float().chunk(2)
                eps = without + self.task["guidance"] * (given - without)
                x = before**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - before) ** 0.5 * eps
            return ((vae(x / self.scaling) / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu()

        return take().flatten().tolist(), take

    def facts(self):
        if self.device.type == "cuda":
            name, memory = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated()
        else:
            name, memory = "CPU", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"device": name, "memory": memory, "software": f"PyTorch {torch.__version__} {self.task['form']}, {torch.get_num_threads()} threads"}


def main():
    file, case, task = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # the VAE is float32, with the TF32 that XLA takes too
    torch.backends.cudnn.allow_tf32 = True
    this = Case(file, task)
    first, take = getattr(this, case.replace("-", "_"))()
    wait = lambda: None
    if this.device.type == "cuda":
        wait = torch.cuda.synchronize
        torch.cuda.reset_peak_memory_stats()  # compiling and loading took more
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        if line == "facts\n":
            print(json.dumps(this.facts()), flush=True)
            continue
        wait()
        start, used = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            take()
        wait()
        print(json.dumps([time.perf_counter() - start, time.process_time() - used]), flush=True)


if __name__ == "__main__":
    main()
