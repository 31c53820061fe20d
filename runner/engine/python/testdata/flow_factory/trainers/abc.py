"""The base of the trainers. Of the settings it knows DECLARED; what else the YAML has goes into extra_kwargs, as there."""
from types import SimpleNamespace

DECLARED = {
    "train": "trainer_type max_epochs unique_sample_num_per_epoch group_size per_device_batch_size gradient_step_per_epoch learning_rate "
             "adam_weight_decay adam_betas max_grad_norm kl_beta ema_decay ema_update_interval ema_decay_schedule latent_storage_dtype "
             "resolution num_inference_steps guidance_scale enable_gradient_checkpointing seed",
    "model": "model_name_or_path model_type finetune_type target_modules lora_rank lora_alpha",
    "scheduler": "dynamics_type noise_level num_sde_steps seed",
    "log": "run_name logging_backend save_dir save_freq",
    "data": "dataset_dir cache_dir force_reprocess dataloader_num_workers"}


def arguments(config, part):
    declared = DECLARED[part].split()
    return SimpleNamespace(**{k: v for k, v in config[part].items() if k in declared},
                           extra_kwargs={k: v for k, v in config[part].items() if k not in declared})


class BaseTrainer:
    def __init__(self, config):
        self.epoch = self.step = 0
        self.accelerator = SimpleNamespace(is_main_process=True, mixed_precision=config["mixed_precision"])
        parts = {("training" if part == "train" else part) + "_args": arguments(config, part) for part in DECLARED}
        self.config, train = SimpleNamespace(**parts, rewards=config["rewards"]), parts["training_args"]
        train.height = train.resolution
        whole = train.per_device_batch_size * train.gradient_step_per_epoch  # it rounds the prompts of an epoch up
        while train.unique_sample_num_per_epoch * train.group_size % whole:
            train.unique_sample_num_per_epoch += 1

    def should_continue_training(self):
        return self.epoch < self.config.training_args.max_epochs

    def log_data(self, data, step):
        raise AssertionError("the engine takes the curve")
