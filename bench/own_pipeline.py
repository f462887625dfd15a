"""Text to video with tools/demo_model's PyTorch modules: the reference where the official code is not at hand."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tools.demo_model.dit import Dit, DitConfig
from tools.demo_model.text_encoder import TextConfig, TextEncoder
from tools.demo_model.vae import Vae, VaeConfig, normalised_decode

TEXT_LENGTH = 512
STRIDE = (4, 8, 8)
OFFICIAL = dict(size="1280*720", frame_num=81, fps=16, sample_solver="unipc", sample_steps=40, sample_shift=12.0,
                sample_guide_scale=[3.0, 4.0], boundary=0.875, negative_prompt="")


@dataclass(frozen=True)
class Request:
    prompt: str
    negative_prompt: str
    size: tuple  # (width, height) in pixels
    frame_num: int
    fps: float
    sample_solver: str
    sample_steps: int
    sample_shift: float
    sample_guide_scale: tuple  # (low noise, high noise)
    boundary: float
    base_seed: int


def resolve_request(ckpt_dir, prompt, base_seed, **given):
    stored = Path(ckpt_dir) / "generation_config.json"
    values = {**OFFICIAL, **(json.loads(stored.read_text()) if stored.is_file() else {}),
              **{key: value for key, value in given.items() if value is not None}}
    values = {key: values[key] for key in OFFICIAL}
    values["size"] = tuple(int(part) for part in re.split(r"[*x]", values["size"]))
    guide = values["sample_guide_scale"]
    values["sample_guide_scale"] = tuple(guide) if isinstance(guide, (list, tuple)) else (guide, guide)
    return Request(prompt=prompt, base_seed=base_seed, **values)


def load_transformer(folder):
    settings = json.loads((folder / "config.json").read_text())
    state = {}
    for path in sorted(folder.glob("*.safetensors")):
        state.update(load_file(path))
    config = DitConfig(dim=settings["dim"], ffn_dim=settings["ffn_dim"], heads=settings["num_heads"],
                       layers=settings["num_layers"], text_dim=state["text_embedding.0.weight"].shape[1],
                       freq_dim=settings["freq_dim"], channels=settings["in_dim"], text_len=settings["text_len"],
                       eps=settings["eps"])
    return filled(Dit, config, state)


def filled(module_class, config, state):
    with torch.device("meta"):
        module = module_class(config)
    module.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return module.eval()


def load(ckpt_dir):
    folder = Path(ckpt_dir)
    text = torch.load(folder / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True)
    layers = 1 + max(int(name.split(".")[1]) for name in text if name.startswith("blocks."))
    vocab, dim = text["token_embedding.weight"].shape
    buckets, heads = text["blocks.0.pos_embedding.embedding.weight"].shape
    text_config = TextConfig(vocab=vocab, dim=dim, dim_ffn=text["blocks.0.ffn.fc1.weight"].shape[0], heads=heads,
                             layers=layers, buckets=buckets)
    vae = torch.load(folder / "Wan2.1_VAE.pth", weights_only=True)
    return {"tokenizer": AutoTokenizer.from_pretrained(folder / "google" / "umt5-xxl"),
            "text_encoder": filled(TextEncoder, text_config, text),
            "high_noise": load_transformer(folder / "high_noise_model"),
            "low_noise": load_transformer(folder / "low_noise_model"),
            "vae": filled(Vae, VaeConfig(dim=vae["encoder.conv1.weight"].shape[0]), vae)}


def encode_text(models, text):
    encoded = models["tokenizer"](text, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
    return models["text_encoder"](encoded.input_ids, encoded.attention_mask)


def make_scheduler(request):
    """diffusers' flow-matching UniPC and DPM++ on the official grids: from sigma 0.999 and from 1, then shifted."""
    kind, first = {"unipc": (UniPCMultistepScheduler, 0.999), "dpm++": (DPMSolverMultistepScheduler, 1.0)}[
        request.sample_solver]
    scheduler = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=request.sample_shift,
                     solver_order=2)
    scheduler.set_timesteps(request.sample_steps)
    sigmas = torch.linspace(first, 0, request.sample_steps + 1, dtype=torch.float64)
    sigmas = request.sample_shift * sigmas / (1 + (request.sample_shift - 1) * sigmas)
    scheduler.sigmas = sigmas.float()
    scheduler.timesteps = (1000 * sigmas[:-1]).long()
    return scheduler


def generate(models, request, times):
    """Frames [3, F, H, W] in [-1, 1]; phases are told to `times`."""
    with times.phase("text"):
        context = encode_text(models, request.prompt)
        negative = encode_text(models, request.negative_prompt)
    generator = torch.Generator().manual_seed(request.base_seed)
    width, height = request.size
    shape = (1, 16, (request.frame_num - 1) // STRIDE[0] + 1, height // STRIDE[1], width // STRIDE[2])
    latent = torch.randn(shape, generator=generator)
    scheduler = make_scheduler(request)
    for timestep in scheduler.timesteps:
        high = timestep.item() >= 1000 * request.boundary
        expert = "high_noise" if high else "low_noise"
        with times.phase(expert):
            t = timestep.reshape(1)
            told = models[expert](latent, t, context)
            untold = models[expert](latent, t, negative)
            velocity = untold + request.sample_guide_scale[high] * (told - untold)
            latent = scheduler.step(velocity, timestep, latent, return_dict=False)[0]
    with times.phase("decode"):
        return normalised_decode(models["vae"], latent)[0]
