"""Random weights of realistic scale, and checkpoints in the official layout that hold them.

No weight is zero or one throughout: a bias, a norm's gain or a modulation that an engine forgets changes every output.
"""

import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

DIFFUSION_FILE = "diffusion_pytorch_model"


def fill(state, seed, rules=()):
    """A tensor for every name and shape in `state`. `rules`: (pattern of the whole name, deviation), tried first; else
    gains of norms scatter round 1, biases and modulations round 0, and matrices keep the variance of their input."""
    generator = torch.Generator().manual_seed(seed)
    filled = {}
    for name, tensor in sorted(state.items()):
        noise = torch.randn(tensor.shape, generator=generator)
        leaf = name.rsplit(".", 1)[-1]
        deviation = next((value for pattern, value in rules if re.fullmatch(pattern, name)), None)
        if deviation is not None:
            filled[name] = noise * deviation
        elif leaf == "gamma" or (leaf == "weight" and tensor.dim() == 1):
            filled[name] = 1 + 0.15 * noise
        elif leaf == "bias":
            filled[name] = 0.1 * noise
        elif leaf == "modulation":
            filled[name] = 0.3 * noise
        else:
            filled[name] = noise / math.sqrt(tensor[0].numel())
    return filled


def scale(state, gains):
    """Multiplies, in place, each tensor whose whole name matches a pattern of `gains` by its factor."""
    for name, tensor in state.items():
        for pattern, factor in gains.items():
            if re.fullmatch(pattern, name):
                tensor *= factor
    return state


def write_transformer(folder, config, state, dtype, shards=1, model_type="t2v", class_name="WanModel", more=()):
    """config.json, with the keys `more` of the config besides, and safetensors, in `shards` files with an index where there
    are more than one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("dim", "ffn_dim", "freq_dim", "in_dim", "num_heads", "num_layers", "out_dim", "text_len", *more)
    settings = {"_class_name": class_name, "eps": 1e-6, "model_type": model_type, **{key: config[key] for key in keys}}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    state = {name: value.to(dtype) for name, value in state.items()}
    if shards == 1:
        save_file(state, folder / f"{DIFFUSION_FILE}.safetensors", metadata={"format": "pt"})
        return
    names = list(state)
    weight_map = {}
    for shard in range(shards):
        file = f"{DIFFUSION_FILE}-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard * len(names) // shards:(shard + 1) * len(names) // shards]
        save_file({name: state[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": sum(value.nbytes for value in state.values())}, "weight_map": weight_map}
    (folder / f"{DIFFUSION_FILE}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def write_pth(path, state, dtype):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.to(dtype) for name, value in state.items()}, path)


def transformer_state(model_class, config, seed, model_type="t2v"):
    """Names and shapes are those of the official class. Large gains of query and key make the attention far from uniform,
    so that a short prompt counts beside its padding."""
    shapes = model_class(model_type=model_type, **config).state_dict()
    state = fill(shapes, seed, rules=((r"time_embedding\.0\.weight", 0.3),))
    for name in state:
        if re.search(r"norm_[qk]\.weight$", name):
            state[name] *= 1.7
    return state


# What the official config.json of speech to video says beside sizes.
SPEECH_KIND = dict(enable_adain=True, adain_mode="attn_norm", zero_init=True, zero_timestep=True, enable_motioner=False,
                   add_last_motion=True, trainable_token_pos_emb=False, enable_tsm=False, enable_framepack=True,
                   framepack_drop_mode="padd", motion_token_num=1024)
SPEECH_SIZES = ("cond_dim", "audio_dim", "num_audio_token", "audio_inject_layers")


def speech_state(model_class, config, seed):
    """As transformer_state(); the parts that a new official model has as zeros count as much as the others. The layers of the
    sound are averaged with positive weights."""
    shapes = model_class(**SPEECH_KIND, **config).state_dict()
    state = fill(shapes, seed, rules=((r"time_embedding\.0\.weight", 0.3), (r"trainable_cond_mask\.weight", 0.5),
                                      (r".*padding_tokens", 1.0), (r"casual_audio_encoder\.weights", 0.2)))
    state["casual_audio_encoder.weights"] += 0.6
    for name in state:
        if re.search(r"norm_[qk]\.weight$", name):
            state[name] *= 1.7
    return state


def write_speech_transformer(folder, config, state, dtype, shards=1):
    write_transformer(folder, {**SPEECH_KIND, **config}, state, dtype, shards, "s2v", "WanModel_S2V",
                      (*SPEECH_SIZES, *SPEECH_KIND))


def animate_state(build, config, sizes, seed):
    """As transformer_state(); `build` makes the official model. The motion encoder's layers divide by the square root of their inputs
    themselves. Blurs are constants."""
    shapes = build(config, sizes).state_dict()
    state = fill(shapes, seed, rules=((r"time_embedding\.0\.weight", 0.3), (r".*padding_tokens", 1.0),
                                      (r"motion_encoder\.enc\..*weight", 1.0), (r"motion_encoder\.enc\..*bias", 0.3),
                                      (r"motion_encoder\.dec\.direction\.weight", 1.0)))
    for name in state:
        if name.endswith(".kernel"):
            state[name] = shapes[name]
        elif re.search(r"norm_(q|k|k_img)\.weight$|[qk]_norm\.weight$", name):
            state[name] *= 1.7
    return state


def write_animate_transformer(folder, config, state, dtype):
    """config.json as diffusers writes the official class: without model_type."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"_class_name": "WanAnimateModel", **config}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    save_file({name: value.to(dtype).contiguous() for name, value in state.items()},
              folder / f"{DIFFUSION_FILE}.safetensors", metadata={"format": "pt"})


def text_encoder_state(encoder_class, config, seed):
    """T5 does not scale its scores: q is small, and the position bias is as large as the scores."""
    shapes = encoder_class(**config).state_dict()
    small = 0.5 / math.sqrt(config["dim"])
    return fill(shapes, seed, rules=((r"token_embedding\.weight", 1.0), (r".*pos_embedding\.embedding\.weight", 1.0),
                                     (r".*attn\.q\.weight", small)))


def vae_state(vae_class, dimensions, seed):
    """The second half of each residual branch and the attention's projection are small, as in a trained VAE."""
    shapes = vae_class(**dimensions, temperal_downsample=[False, True, True]).state_dict()
    state = fill(shapes, seed)
    for name in state:
        if re.search(r"(residual\.6|proj)\.weight$", name):
            state[name] *= 0.4
    return state
