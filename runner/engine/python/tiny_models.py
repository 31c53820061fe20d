"""Random models of each family, small enough to draw a picture in a second: for `ablate probe` and for tests.

They have the class names and the folders of published models and widths of 8 to 48. What they draw is noise.
"""
import json
from pathlib import Path

SPECIAL = ["<|startoftext|>", "<|endoftext|>"]


def make(name, folder):
    """Writes a model in diffusers' layout (tiny-clip: in transformers') into a folder. The same name gives the same weights."""
    import torch
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    try:
        MODELS[name](Path(folder))
    except KeyError:
        from ablate_engine import Refused
        raise Refused(f"there is no tiny model {name}; there are {', '.join(MODELS)}") from None
    finally:
        torch.random.set_rng_state(state)


def tokenizer(folder):
    """CLIP's tokenizer without merges: a token for each byte, and one for a byte that ends a word."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]
    vocab = letters + [x + "</w>" for x in letters] + SPECIAL
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": SPECIAL[0], "eos_token": SPECIAL[1],
        "unk_token": SPECIAL[1], "pad_token": SPECIAL[1]}))
    from transformers import CLIPTokenizer
    return CLIPTokenizer.from_pretrained(folder)


def text_config(width=32, projection=32):
    return dict(vocab_size=514, hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=77, projection_dim=projection, bos_token_id=512, eos_token_id=513, pad_token_id=513)


def vae(channels=4, scaling=0.18215, shift=None):
    from diffusers import AutoencoderKL
    quant = shift is None  # the encoders of flow models have no such layer
    return AutoencoderKL(block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                         layers_per_block=1, latent_channels=channels, norm_num_groups=8, sample_size=32, scaling_factor=scaling,
                         shift_factor=shift, use_quant_conv=quant, use_post_quant_conv=quant, force_upcast=False)


def unet(**more):
    from diffusers import UNet2DConditionModel
    return UNet2DConditionModel(block_out_channels=(16, 32), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1, norm_num_groups=8,
                                attention_head_dim=4, sample_size=16, **more)


def ddim():
    from diffusers import DDIMScheduler
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=False, steps_offset=1)


def sd(folder):
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel
    StableDiffusionPipeline(
        vae=vae(), text_encoder=CLIPTextModel(CLIPTextConfig(**text_config())), tokenizer=tokenizer(folder / "tokenizer"),
        unet=unet(cross_attention_dim=32), scheduler=ddim(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False).save_pretrained(folder)


def sdxl(folder):
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
    StableDiffusionXLPipeline(
        vae=vae(), text_encoder=CLIPTextModel(CLIPTextConfig(**text_config())),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**text_config(48))),
        tokenizer=tokenizer(folder / "tokenizer"), tokenizer_2=tokenizer(folder / "tokenizer_2"),
        unet=unet(cross_attention_dim=80, addition_embed_type="text_time", addition_time_embed_dim=8,
                  projection_class_embeddings_input_dim=32 + 6 * 8, use_linear_projection=True),
        scheduler=ddim()).save_pretrained(folder)


def t5():
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast
    letters = [(chr(33 + i), -float(i)) for i in range(94)]
    return (T5EncoderModel(T5Config(vocab_size=200, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)),
            T5TokenizerFast(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters], extra_ids=0))


def sd3(folder):
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    text, (encoder, tokens) = lambda: CLIPTextModelWithProjection(CLIPTextConfig(**text_config(16, 16))), t5()
    StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(sample_size=16, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8,
                                          num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
                                          pooled_projection_dim=32, out_channels=16),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(16, 1.5305, 0.0609),
        text_encoder=text(), tokenizer=tokenizer(folder / "tokenizer"), text_encoder_2=text(), tokenizer_2=tokenizer(folder / "tokenizer_2"),
        text_encoder_3=encoder, tokenizer_3=tokens).save_pretrained(folder)


def flux(folder):
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel
    encoder, tokens = t5()
    FluxPipeline(
        transformer=FluxTransformer2DModel(patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
                                           num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
                                           axes_dims_rope=(4, 4, 8), guidance_embeds=True),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=vae(4, 0.3611, 0.1159),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text_config())), tokenizer=tokenizer(folder / "tokenizer"),
        text_encoder_2=encoder, tokenizer_2=tokens).save_pretrained(folder)


def clip(folder):
    from transformers import CLIPConfig, CLIPModel
    tokenizer(folder)
    CLIPModel(CLIPConfig(
        text_config=text_config(32, 24), projection_dim=24,
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32,
                           patch_size=8, projection_dim=24))).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}, "do_center_crop": True, "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}))


MODELS = {"tiny-sd": sd, "tiny-sdxl": sdxl, "tiny-sd3": sd3, "tiny-flux": flux, "tiny-clip": clip}
