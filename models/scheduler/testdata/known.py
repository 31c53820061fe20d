"""Writes known.json: what diffusers' schedulers make of one number, for configurations that the reference set lacks.

    python known.py > known.json        (diffusers 0.42.1, torch 2.15.0)

The state starts at 0.8 · init_noise_sigma; the i-th call of the network, from 0, has the output cos(1.7 i + 0.3), and the
i-th step the noise sin(2.3 i + 1).
"""
import json
import math

import diffusers
import torch

NOISE = []


def draw(*_, **__):
    return NOISE[-1]


diffusers.schedulers.scheduling_ddpm.randn_tensor = draw

SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, skip_prk_steps=True)
V, X, COS = dict(prediction_type="v_prediction"), dict(prediction_type="sample"), dict(beta_schedule="squaredcos_cap_v2")
LIN, TRAIL, LEAD = ({"timestep_spacing": s} for s in ("linspace", "trailing", "leading"))
ZERO = dict(rescale_betas_zero_snr=True)
FEW = dict(num_train_timesteps=20, trained_betas=[0.01 + 0.015 * i for i in range(20)])
KARRAS, MIN = dict(use_karras_sigmas=True), dict(final_sigmas_type="sigma_min")
CASES = [
    ("DDIMScheduler", V | dict(steps_offset=1, set_alpha_to_one=False), 10, 0.5),
    ("DDIMScheduler", X | LIN, 7, 0),
    ("DDIMScheduler", V | TRAIL | ZERO, 5, 0),
    ("DDIMScheduler", V | TRAIL | ZERO, 5, 1),
    ("DDIMScheduler", COS | TRAIL, 48, 0),
    ("DDIMScheduler", FEW | LEAD, 6, 1),
    ("DDIMScheduler", TRAIL, 1, 0),
    ("DDIMScheduler", dict(steps_offset=1), 1, 0),
    ("DDPMScheduler", dict(steps_offset=1), 10, 0),
    ("DDPMScheduler", V | TRAIL | dict(variance_type="fixed_large"), 9, 0),
    ("DDPMScheduler", X | LIN | dict(variance_type="fixed_small_log"), 8, 0),
    ("DDPMScheduler", FEW | V, 20, 0),
    ("DDPMScheduler", LIN | dict(variance_type="fixed_large"), 4, 0),
    ("DDPMScheduler", TRAIL, 1, 0),
    ("EulerDiscreteScheduler", V | KARRAS | TRAIL, 6, 0),
    ("EulerDiscreteScheduler", X, 3, 0),
    ("EulerDiscreteScheduler", MIN | TRAIL, 5, 0),
    ("EulerDiscreteScheduler", KARRAS | LEAD | dict(sigma_min=0.1, sigma_max=9.0, steps_offset=1), 5, 0),
    ("EulerDiscreteScheduler", V | ZERO | TRAIL, 4, 0),
    ("EulerDiscreteScheduler", TRAIL, 1, 0),
    ("EulerDiscreteScheduler", COS | V | LEAD, 4, 0),
    ("DPMSolverMultistepScheduler", V | LEAD | dict(steps_offset=1), 20, 0),
    ("DPMSolverMultistepScheduler", X | TRAIL, 8, 0),
    ("DPMSolverMultistepScheduler", MIN | dict(lower_order_final=False), 6, 0),
    ("DPMSolverMultistepScheduler", MIN, 6, 0),
    ("DPMSolverMultistepScheduler", MIN, 16, 0),
    ("DPMSolverMultistepScheduler", MIN | dict(euler_at_final=True), 16, 0),
    ("DPMSolverMultistepScheduler", V | KARRAS | COS, 7, 0),
    ("DPMSolverMultistepScheduler", V | KARRAS | ZERO, 7, 0),
    ("DPMSolverMultistepScheduler", {}, 1, 0),
    ("DPMSolverMultistepScheduler", {}, 2, 0),
    ("PNDMScheduler", V | dict(steps_offset=1), 2, 0),
    ("PNDMScheduler", V | dict(steps_offset=1), 7, 0),
    ("PNDMScheduler", LIN, 6, 0),
    ("PNDMScheduler", TRAIL | dict(set_alpha_to_one=True), 9, 0),
    ("PNDMScheduler", dict(steps_offset=1), 1, 0),
]


def trajectory(name, config, n, eta):
    cls = getattr(diffusers, name)
    config = {k: v for k, v in (SD | config).items() if k in cls.__init__.__wrapped__.__code__.co_varnames}
    s = cls(**config)
    s.set_timesteps(n)
    if hasattr(s, "set_begin_index"):
        s.set_begin_index(0)  # otherwise diffusers begins at the second of two equal timesteps, and its sigmas run out
    x = torch.full((1, 1, 1, 1), 0.8, dtype=torch.float64) * s.init_noise_sigma
    latents = []
    for i, t in enumerate(s.timesteps):
        NOISE.append(torch.full_like(x, math.sin(2.3 * i + 1)))
        scaled = s.scale_model_input(x, t)
        more = dict(eta=eta, variance_noise=NOISE[-1]) if eta else {}
        x = s.step(torch.full_like(x, math.cos(1.7 * i + 0.3)), t, x, **more).prev_sample
        latents.append([float(scaled), float(x)])
    out = dict(scheduler=config | {"_class_name": name}, steps=n, eta=eta, init_noise_sigma=float(s.init_noise_sigma),
               timesteps=[float(t) for t in s.timesteps], latents=latents)
    if hasattr(s, "sigmas"):
        out["sigmas"] = [float(t) for t in s.sigmas]
    return out


print("[\n" + ",\n".join(json.dumps(trajectory(*c)) for c in CASES) + "\n]")
