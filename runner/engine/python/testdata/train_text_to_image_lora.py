"""A stand-in for diffusers' published script, for the tests of lora_script_engine.py: the same options, files and calls of
accelerate, on torch, diffusers and peft alone. The published one also needs datasets and torchvision.

LORA_STANDIN makes it fail as a trainer may: "skips" reads all images but one, "short" ends before its last step with
the exit status 0, "nan" has a loss that is not a number.
"""
import argparse
import json
import os
from pathlib import Path

import numpy
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image

FAULT = os.environ.get("LORA_STANDIN")


def options():
    parser = argparse.ArgumentParser()
    for name in ("pretrained_model_name_or_path", "train_data_dir", "cache_dir", "output_dir", "lr_scheduler", "mixed_precision",
                 "report_to", "resume_from_checkpoint"):
        parser.add_argument("--" + name)
    for name in ("seed", "resolution", "max_train_steps", "train_batch_size", "gradient_accumulation_steps", "lr_warmup_steps",
                 "rank", "checkpointing_steps"):
        parser.add_argument("--" + name, type=int)
    for name in ("learning_rate", "adam_beta1", "adam_beta2", "adam_weight_decay", "max_grad_norm", "noise_offset", "snr_gamma"):
        parser.add_argument("--" + name, type=float)
    for name in ("center_crop", "random_flip", "gradient_checkpointing"):
        parser.add_argument("--" + name, action="store_true")
    return parser.parse_args()


class Images(torch.utils.data.Dataset):
    def __init__(self, args, tokenizer):
        self.args, self.tokenizer, self.folder = args, tokenizer, Path(args.train_data_dir)
        self.rows = [json.loads(line) for line in (self.folder / "metadata.jsonl").read_text().splitlines()]
        self.rows = self.rows[FAULT == "skips":]

    def __len__(self): return len(self.rows)

    def __getitem__(self, i):
        size = (self.args.resolution, self.args.resolution)
        image = Image.open(self.folder / self.rows[i]["file_name"]).convert("RGB").resize(size, Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 127.5 - 1
        if self.args.random_flip and torch.rand(()) < 0.5:
            pixels = pixels.flip(2)
        tokens = self.tokenizer(self.rows[i]["text"], padding="max_length", truncation=True, return_tensors="pt").input_ids[0]
        return {"pixels": pixels, "tokens": tokens}


def main():
    args = options()
    accelerator = Accelerator(gradient_accumulation_steps=args.gradient_accumulation_steps, mixed_precision=args.mixed_precision,
                              log_with=args.report_to, project_config=ProjectConfiguration(args.output_dir, logging_dir=args.output_dir))
    set_seed(args.seed)
    pipe = StableDiffusionPipeline.from_pretrained(args.pretrained_model_name_or_path)
    times = DDPMScheduler.from_config(pipe.scheduler.config)
    for model in (pipe.vae, pipe.text_encoder, pipe.unet):
        model.requires_grad_(False)
        model.to(accelerator.device)
    pipe.unet.add_adapter(LoraConfig(r=args.rank, lora_alpha=args.rank, init_lora_weights="gaussian",
                                     target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    if args.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    weights = [w for w in pipe.unet.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=args.learning_rate, betas=(args.adam_beta1, args.adam_beta2), weight_decay=args.adam_weight_decay)
    schedule = get_scheduler(args.lr_scheduler, optimizer, num_warmup_steps=args.lr_warmup_steps * accelerator.num_processes,
                             num_training_steps=args.max_train_steps * accelerator.num_processes)
    data = torch.utils.data.DataLoader(Images(args, pipe.tokenizer), args.train_batch_size, shuffle=True)
    unet, optimizer, data, schedule = accelerator.prepare(pipe.unet, optimizer, data, schedule)

    def save(models, given, folder):
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(accelerator.unwrap_model(unet)))
        given.clear()

    def load(models, folder):
        state, _ = StableDiffusionPipeline.lora_state_dict(folder)
        set_peft_model_state_dict(models.pop(), {k.removeprefix("unet."): v for k, v in state.items()})
    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
    if accelerator.is_main_process:
        accelerator.init_trackers("text2image-fine-tune", config=vars(args))
    step = 0
    if args.resume_from_checkpoint:
        accelerator.load_state(os.path.join(args.output_dir, args.resume_from_checkpoint))
        step = int(args.resume_from_checkpoint.split("-")[1])
    last = args.max_train_steps - (FAULT == "short")
    while step < last:
        total = 0.0
        for batch in data:
            with accelerator.accumulate(unet):
                x = pipe.vae.encode(batch["pixels"]).latent_dist.sample() * pipe.vae.config.scaling_factor
                eps = torch.randn_like(x) + args.noise_offset * torch.randn(len(x), x.shape[1], 1, 1, device=x.device)
                t = torch.randint(0, times.config.num_train_timesteps, (len(x),), device=x.device)
                got = unet(times.add_noise(x, eps, t), t, pipe.text_encoder(batch["tokens"])[0]).sample
                loss = (got - eps).square().mean(dim=(1, 2, 3))
                if args.snr_gamma:
                    snr = compute_snr(times, t)
                    loss = loss * snr.clamp(max=args.snr_gamma) / snr
                loss = loss.mean() * (float("nan") if FAULT == "nan" else 1)
                total += accelerator.gather(loss.detach()).mean().item() / args.gradient_accumulation_steps
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                step += 1
                accelerator.log({"train_loss": total}, step=step)
                total = 0.0
            if step == last:
                break
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        save(None, [], args.output_dir)
    accelerator.end_training()


if __name__ == "__main__":
    main()
