"""What make_pipeline.py makes: images, checkpoints and requests."""

from dataclasses import dataclass, field

TRANSFORMER = dict(dim=48, ffn_dim=96, freq_dim=64, text_dim=32, in_dim=16, out_dim=16, num_heads=2, num_layers=2,
                   text_len=512)
TEXT_ENCODER = dict(dim=32, dim_attn=32, dim_ffn=48, num_heads=4, num_layers=2, num_buckets=32, shared_pos=False)


@dataclass(frozen=True)
class Checkpoint:
    folder: str
    model_type: str
    transformer: dict
    transformer_seeds: dict  # by folder of the transformer
    vae: dict
    vae_seed: int
    text_seed: int = 23
    transformer_gains: dict = field(default_factory=dict)
    vae_gains: dict = field(default_factory=dict)


# An image must matter: tokens heed other tokens, and its latents have deviations round 1, as a trained encoder's have.
ATTENTION = {r"blocks\.\d+\.self_attn\.o\.weight": 3.0}
LATENTS = r"conv1\.weight"


CHECKPOINTS = {
    "t2v-A14B": Checkpoint(
        folder="checkpoint", model_type="t2v", transformer=TRANSFORMER,
        transformer_seeds={"high_noise_model": 21, "low_noise_model": 22}, vae=dict(dim=2), vae_seed=24),
    # 16 channels of noise, 4 of mask, 16 of the image's latents.
    "i2v-A14B": Checkpoint(
        folder="checkpoint_i2v", model_type="i2v", transformer=dict(TRANSFORMER, dim=40, ffn_dim=80, in_dim=36),
        transformer_seeds={"high_noise_model": 31, "low_noise_model": 32}, vae=dict(dim=3), vae_seed=34,
        transformer_gains=ATTENTION, vae_gains={LATENTS: 5.0}),
    # An odd number of heads; a decoder wider than the encoder, as in the real one.
    "ti2v-5B": Checkpoint(
        folder="checkpoint_ti2v", model_type="ti2v",
        transformer=dict(TRANSFORMER, ffn_dim=100, in_dim=48, out_dim=48, num_heads=3),
        transformer_seeds={".": 41}, vae=dict(dim=2, dec_dim=3), vae_seed=44,
        transformer_gains=ATTENTION, vae_gains={LATENTS: 3.0}),
}

# Name: width, height, seed.
IMAGES = {"landscape": (150, 102, 51), "portrait": (21, 34, 52), "tall": (37, 113, 53)}

CASES = {
    # Three steps an expert, three latent frames, guidance of its own for each.
    "unipc": dict(prompt="a red circle moves right over the sea", negative_prompt="blurry, low quality", size="32*48",
                  frame_num=9, sample_solver="unipc", sample_steps=6, sample_shift=5.0, sample_guide_scale=[3.0, 4.0],
                  base_seed=42),
    # Two latent frames, the official shift, another boundary.
    "dpmpp": dict(prompt="two cats dance slowly in the rain", negative_prompt="", size="48*32", frame_num=5,
                  sample_solver="dpm++", sample_steps=5, sample_shift=12.0, sample_guide_scale=[2.5, 3.5], boundary=0.9,
                  base_seed=7),
    # One frame; the official negative prompt; the low-noise expert without guidance; a seed of more than 32 bits.
    "still": dict(prompt="blue square", negative_prompt=None, size="32*32", frame_num=1, sample_solver="unipc",
                  sample_steps=4, sample_shift=3.0, sample_guide_scale=[1.0, 3.0], base_seed=2**40 + 3),

    # An image reduced to 48x32, which is not quite its own aspect.
    "i2v_unipc": dict(task="i2v-A14B", image="landscape.png", prompt="a green square moves left over the sea",
                      negative_prompt="blurry, low quality", size="48*48", frame_num=9, sample_solver="unipc",
                      sample_steps=6, sample_shift=5.0, sample_guide_scale=[2.0, 3.0], base_seed=61),
    # An image enlarged to 32x64; another boundary.
    "i2v_dpmpp": dict(task="i2v-A14B", image="portrait.png", prompt="two cats dance slowly", negative_prompt="",
                      size="48*64", frame_num=5, sample_solver="dpm++", sample_steps=4, sample_shift=4.0,
                      sample_guide_scale=[3.5, 2.5], boundary=0.85, base_seed=62),
    # One frame, 32x16; the official negative prompt; the low-noise expert without guidance.
    "i2v_still": dict(task="i2v-A14B", image="landscape.png", prompt="blue square", negative_prompt=None, size="32*32",
                      frame_num=1, sample_solver="unipc", sample_steps=4, sample_shift=5.0,
                      sample_guide_scale=[1.0, 3.5], base_seed=63),

    # Text alone, two latent frames.
    "ti2v_text": dict(task="ti2v-5B", prompt="a red circle moves right over the sea",
                      negative_prompt="blurry, low quality", size="64*32", frame_num=5, sample_solver="unipc",
                      sample_steps=5, sample_shift=5.0, sample_guide_scale=[4.0, 4.0], base_seed=71),
    # Text alone, one frame; the official negative prompt.
    "ti2v_text_still": dict(task="ti2v-5B", prompt="blue square", negative_prompt=None, size="32*64", frame_num=1,
                            sample_solver="dpm++", sample_steps=4, sample_shift=5.0, sample_guide_scale=[5.0, 5.0],
                            base_seed=72),
    # An image reduced to 64x44 and cropped to 64x32; three latent frames.
    "ti2v_image": dict(task="ti2v-5B", image="landscape.png", prompt="the sea moves slowly in the rain",
                       negative_prompt="blurry", size="32*64", frame_num=9, sample_solver="unipc", sample_steps=4,
                       sample_shift=5.0, sample_guide_scale=[3.0, 3.0], base_seed=73),
    # Three times as high as wide: reduced to 32x98, cropped to 32x96; the solver that begins at 1000.
    "ti2v_tall": dict(task="ti2v-5B", image="tall.png", prompt="two cats over the sea", negative_prompt="", size="64*64",
                      frame_num=5, sample_solver="dpm++", sample_steps=4, sample_shift=3.0,
                      sample_guide_scale=[2.5, 2.5], base_seed=74),
    # An enlarged image as the only frame: every token at timestep 0, nothing left to denoise.
    "ti2v_image_still": dict(task="ti2v-5B", image="portrait.png", prompt="red", negative_prompt="", size="32*64",
                             frame_num=1, sample_solver="unipc", sample_steps=3, sample_shift=5.0,
                             sample_guide_scale=[5.0, 5.0], base_seed=75),
}
