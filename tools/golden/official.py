"""The official Wan2.2 code, imported to run on the CPU in fp32.

Nothing of it is copied or changed on disk. While its modules are imported, and afterwards inside the module objects, what
needs CUDA or rounds to bf16 is put aside:

  wan/__init__.py          not run: it imports every task with its dependencies
  the pipelines' `torch`   every device is the CPU, `torch.cuda` does nothing; `randn` can be replaced
  flash_attention          scaled_dot_product_attention in fp32
  umt5_xxl, _video_vae     dimensions come from the checkpoint's tensors; weights become fp32
  WanModel.from_pretrained text_dim comes from the checkpoint's tensors (config.json lacks it); weights become fp32
"""

import functools
import importlib
import json
import sys
import types
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file


# Task: module of its pipeline, class there, attributes that hold its transformers, whether it takes an image.
TASKS = {
    "t2v-A14B": ("wan.text2video", "WanT2V", ("high_noise_model", "low_noise_model"), "never"),
    "i2v-A14B": ("wan.image2video", "WanI2V", ("high_noise_model", "low_noise_model"), "always"),
    "ti2v-5B": ("wan.textimage2video", "WanTI2V", ("model",), "optional"),
}

# Constructor argument of a VAE: a tensor whose first dimension it is.
VAE21_DIMENSIONS = {"dim": "encoder.conv1.weight"}
VAE22_DIMENSIONS = {"dim": "encoder.conv1.weight", "dec_dim": "decoder.head.0.gamma"}


@dataclass(frozen=True)
class Task:
    name: str
    module: types.ModuleType
    pipeline: type
    models: tuple
    image: str  # "never", "optional" or "always"
    config: object  # wan.configs' constants
    size: str  # the official default, or where that is none of the task's sizes, the like


@dataclass(frozen=True)
class Official:
    """Module objects of the official code, and its tasks by name."""
    model: types.ModuleType
    t5: types.ModuleType
    vae21: types.ModuleType
    vae22: types.ModuleType
    utils: types.ModuleType
    tasks: dict


class CpuTorch(types.ModuleType):
    """Stands in for `torch` inside a pipeline's module."""

    def __init__(self):
        super().__init__("torch")
        self.cuda = types.SimpleNamespace(empty_cache=lambda: None, synchronize=lambda: None)
        self.randn = torch.randn

    def device(self, *_):
        return torch.device("cpu")

    def __getattr__(self, name):
        return getattr(torch, name)


def attention_fp32(q, k, v, q_lens=None, k_lens=None, dropout_p=0.0, softmax_scale=None, q_scale=None, causal=False,
                   window_size=(-1, -1), **_):
    """q [B, Lq, N, C], k and v [B, Lk, N, C] -> [B, Lq, N, C]; keys at or past k_lens [B] are not attended to."""
    if q_lens is not None or q_scale is not None or causal or dropout_p or tuple(window_size) != (-1, -1):
        raise ValueError("the official code asks for attention with q_lens, q_scale, a causal mask, dropout or a window, which no task did at "
                         "the commit that docs/testing.md names: check that one out, or have attention_fp32() do it")
    mask = None
    if k_lens is not None and int(k_lens.min()) < k.shape[1]:
        mask = (torch.arange(k.shape[1])[None] < k_lens[:, None])[:, None, None]
    q, k, v = (x.float().transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=softmax_scale)
    return y.transpose(1, 2).contiguous()


@functools.cache
def load_speech_model(wan_dir):
    """The module of speech to video's transformer, without the pipeline's dependencies (librosa, decord, transformers)."""
    load_official(wan_dir)
    package = types.ModuleType("wan.modules.s2v")
    package.__path__ = [str(Path(wan_dir).resolve() / "wan" / "modules" / "s2v")]
    with mock.patch.dict(sys.modules, {"wan.modules.s2v": package}):
        module = importlib.import_module("wan.modules.s2v.model_s2v")
    patch_speech_model(module)
    return module


def patch_speech_model(module):
    module.flash_attention = attention_fp32

    def from_pretrained(cls, folder, **_):
        settings = json.loads((Path(folder) / "config.json").read_text())
        settings = {key: value for key, value in settings.items() if not key.startswith("_")}
        model = cls(text_dim=transformer_text_dim(folder), **settings)
        state = {}
        for path in sorted(Path(folder).glob("*.safetensors")):
            state.update(load_file(path))
        model.load_state_dict({name: value.float() for name, value in state.items()})
        return model

    module.WanModel_S2V.from_pretrained = classmethod(from_pretrained)


class VideoReader:
    """Stands in for decord's: the frames of a file without losses, read by ffmpeg."""

    def __init__(self, path):
        import imageio_ffmpeg
        reader = imageio_ffmpeg.read_frames(path)
        facts = next(reader)
        width, height = facts["size"]
        self.fps = facts["fps"]
        self.frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]

    def get_avg_fps(self):
        return self.fps

    def __len__(self):
        return len(self.frames)

    def get_batch(self, indices):
        return types.SimpleNamespace(asnumpy=lambda: np.stack([self.frames[i] for i in indices]))


@functools.cache
def load_speech_task(wan_dir):
    """Speech to video with the pipeline's dependencies, but for decord. Noise is what bf16 holds of PyTorch's, as the official
    pipeline draws it."""
    load_official(wan_dir)
    configs = importlib.import_module("wan.configs")
    decord = types.ModuleType("decord")
    decord.VideoReader = VideoReader
    sys.modules["decord"] = decord
    module = importlib.import_module("wan.speech2video")
    patch_speech_model(sys.modules["wan.modules.s2v.model_s2v"])
    module.torch = CpuTorch()
    module.torch.randn = lambda *shape, generator, **_: torch.randn(*shape, generator=generator).bfloat16().float()
    return Task("s2v-14B", module, module.WanS2V, ("noise_model",), "always", configs.WAN_CONFIGS["s2v-14B"], "1024*704")


def animate_sizes(state):
    """What of character animation stands in the official code only, from a checkpoint's tensors."""
    convolutions = "motion_encoder.enc.net_app.convs."
    levels = len({name.split(".")[4] for name in state if name.startswith(convolutions)}) - 2
    return dict(image_dim=state["img_emb.proj.1.weight"].shape[1],
                face_dim=state["face_encoder.conv2.conv.weight"].shape[0],
                motion_dim=state["motion_encoder.dec.direction.weight"].shape[0],
                motion_directions=state["motion_encoder.dec.direction.weight"].shape[1],
                face_channels=[state[convolutions + "0.0.weight"].shape[0],
                               *(state[f"{convolutions}{i + 1}.conv2.1.weight"].shape[0] for i in range(levels))])


def build_motion_encoder(module, sizes):
    """The official Generator over pictures of other sizes."""
    channels, width = sizes["face_channels"], sizes["motion_dim"]

    class SmallEncoderApp(module.EncoderApp):
        def __init__(self, *_):
            torch.nn.Module.__init__(self)
            self.convs = torch.nn.ModuleList([
                module.ConvLayer(3, channels[0], 1), *(module.ResBlock(a, b) for a, b in zip(channels, channels[1:])),
                module.EqualConv2d(channels[-1], width, 4, padding=0, bias=False)])

    with mock.patch.object(module, "EncoderApp", SmallEncoderApp):
        generator = module.Generator(size=None, style_dim=width, motion_dim=sizes["motion_directions"])
    generator.dec.direction.weight = torch.nn.Parameter(torch.randn(width, sizes["motion_directions"]))
    return generator


def build_face_encoder(module, in_dim, hidden_dim, num_heads, width):
    encoder = module.FaceEncoder(in_dim=in_dim, hidden_dim=hidden_dim, num_heads=num_heads)
    encoder.conv1_local = module.CausalConv1d(in_dim, width * num_heads, 3, stride=1)
    encoder.conv2, encoder.conv3 = (module.CausalConv1d(width, width, 3, stride=2) for _ in range(2))
    encoder.out_proj = torch.nn.Linear(width, hidden_dim)
    encoder.norm1, encoder.norm2, encoder.norm3 = (
        torch.nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(3))
    return encoder


def build_animate_model(module, config, sizes):
    """The official transformer of character animation, `config` its config.json, with other sizes than the official ones."""
    faces, motions = sys.modules["wan.modules.animate.face_blocks"], sys.modules["wan.modules.animate.motion_encoder"]
    projection = module.MLPProj
    with (mock.patch.object(module, "Generator", lambda **_: build_motion_encoder(motions, sizes)),
          mock.patch.object(module, "FaceEncoder", lambda in_dim, hidden_dim, num_heads: build_face_encoder(
              faces, in_dim, hidden_dim, num_heads, sizes["face_dim"])),
          mock.patch.object(module, "MLPProj", lambda _, dim: projection(sizes["image_dim"], dim))):
        return module.WanAnimateModel(**config)


def patch_animate_model(module):
    module.flash_attention = attention_fp32
    sys.modules["wan.modules.animate.face_blocks"].flash_attn_func = attention_fp32

    def from_pretrained(cls, folder, **_):
        settings = json.loads((Path(folder) / "config.json").read_text())
        settings = {key: value for key, value in settings.items() if not key.startswith("_")}
        state = {}
        for path in sorted(Path(folder).glob("*.safetensors")):
            state.update(load_file(path))
        state = {name: value.float() for name, value in state.items()}
        model = build_animate_model(module, settings, animate_sizes(state))
        model.load_state_dict(state)
        return model

    module.WanAnimateModel.from_pretrained = classmethod(from_pretrained)


def patch_clip(module):
    """The image tower alone, of sizes that the checkpoint's tensors have."""
    module.flash_attention = attention_fp32

    def construct(self, dtype, device, checkpoint_path, tokenizer_path):
        state = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        state = {name[7:]: value.float() for name, value in state.items() if name.startswith("visual.")}
        dim, _, patch, _ = state["patch_embedding.weight"].shape
        layers = {name.split(".")[1] for name in state if name.startswith("transformer.")}
        size = patch * round((state["pos_embedding"].shape[1] - 1) ** 0.5)
        visual = module.VisionTransformer(
            image_size=size, patch_size=patch, dim=dim, mlp_ratio=state["transformer.0.mlp.0.weight"].shape[0] / dim,
            out_dim=state["head"].shape[1], num_heads=16, num_layers=len(layers), pool_type="token", pre_norm=True,
            post_norm=False, activation="gelu")
        visual.load_state_dict(state)
        self.dtype, self.model = torch.float32, types.SimpleNamespace(visual=visual.eval(), image_size=size)
        normalize = module.T.Normalize(mean=[0.48145466, 0.4578275, 0.40821073], std=[0.26862954, 0.26130258, 0.27577711])
        self.transforms = types.SimpleNamespace(transforms=[normalize])

    module.CLIPModel.__init__ = construct


@functools.cache
def load_animate_task(wan_dir):
    """Character animation with the pipeline's dependencies, but for decord. What the pipeline rounds to bf16 stays in fp32."""
    load_official(wan_dir)
    configs = importlib.import_module("wan.configs")
    decord = types.ModuleType("decord")
    decord.VideoReader = VideoReader
    sys.modules["decord"] = decord
    module = importlib.import_module("wan.animate")
    patch_animate_model(sys.modules["wan.modules.animate.model_animate"])
    patch_clip(sys.modules["wan.modules.animate.clip"])
    module.torch = CpuTorch()
    module.torch.bfloat16 = torch.float32
    return Task("animate-14B", module, module.WanAnimate, ("noise_model",), "never", configs.WAN_CONFIGS["animate-14B"],
                "1280*720")


def text_encoder_dimensions(path):
    """Arguments of the official encoder's constructor from the shapes in a .pth file."""
    state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    layers = {int(name.split(".")[1]) for name in state if name.startswith("blocks.")}
    vocab, dim = state["token_embedding.weight"].shape
    buckets, heads = state["blocks.0.pos_embedding.embedding.weight"].shape
    return dict(vocab_size=vocab, dim=dim, dim_attn=state["blocks.0.attn.q.weight"].shape[0],
                dim_ffn=state["blocks.0.ffn.fc1.weight"].shape[0], num_heads=heads, encoder_layers=len(layers),
                num_buckets=buckets)


def transformer_text_dim(folder):
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if "text_embedding.0.weight" in file.keys():
                return file.get_slice("text_embedding.0.weight").get_shape()[1]
    raise FileNotFoundError(f"{folder}: no safetensors file holds text_embedding.0.weight")


def patch_transformer(module):
    module.flash_attention = attention_fp32
    construct = module.WanModel.__init__.__wrapped__
    names = construct.__code__.co_varnames[1:construct.__code__.co_argcount]
    load = module.WanModel.from_pretrained.__func__

    def from_pretrained(cls, folder, subfolder=None, **kwargs):
        text_dim = transformer_text_dim(Path(folder) / (subfolder or "."))
        construct.__defaults__ = tuple(
            text_dim if name == "text_dim" else value for name, value in zip(names, construct.__defaults__))
        return load(cls, folder, **({"subfolder": subfolder} if subfolder else {}), **kwargs).float()

    module.WanModel.from_pretrained = classmethod(from_pretrained)


def patch_text_encoder(module):
    build = module.umt5_xxl
    construct = module.T5EncoderModel.__init__

    def construct_from_tensors(self, *args, checkpoint_path=None, **kwargs):
        dimensions = text_encoder_dimensions(checkpoint_path)
        with mock.patch.object(module, "umt5_xxl", functools.partial(build, **dimensions)):
            construct(self, *args, checkpoint_path=checkpoint_path, **kwargs)

    module.T5EncoderModel.__init__ = construct_from_tensors


def patch_vae(module, dimensions):
    build = module._video_vae

    def build_from_tensors(pretrained_path=None, z_dim=None, **kwargs):
        state = torch.load(pretrained_path, map_location="cpu", mmap=True, weights_only=True)
        if state["conv2.weight"].shape[0] != z_dim:
            raise ValueError(f"{pretrained_path}: {state['conv2.weight'].shape[0]} latent channels, not {z_dim}")
        kwargs.update({argument: state[name].shape[0] for argument, name in dimensions.items()})
        return build(pretrained_path=pretrained_path, z_dim=z_dim, **kwargs).float()

    module._video_vae = build_from_tensors


def load_task(name, configs):
    module_name, pipeline, models, image = TASKS[name]
    module = importlib.import_module(module_name)
    module.torch = CpuTorch()
    sizes = configs.SUPPORTED_SIZES[name]
    size = "1280*720" if "1280*720" in sizes else sizes[-1]
    return Task(name, module, getattr(module, pipeline), models, image, configs.WAN_CONFIGS[name], size)


@functools.cache
def load_official(wan_dir):
    """Imports the official repository at `wan_dir` with the patches above."""
    package_dir = Path(wan_dir).resolve() / "wan"
    if not (package_dir / "text2video.py").is_file():
        raise SystemExit(f"--wan_dir {wan_dir}: expected a checkout of the official Wan2.2 repository "
                         "(github.com/Wan-Video/Wan2.2), found no wan/text2video.py in it")
    warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
    warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.autocast.*")
    package = types.ModuleType("wan")
    package.__path__ = [str(package_dir)]
    sys.modules["wan"] = package
    with mock.patch.object(torch.cuda, "current_device", return_value=0):
        names = ("wan.modules.model", "wan.modules.t5", "wan.modules.vae2_1", "wan.modules.vae2_2", "wan.utils.utils",
                 "wan.configs")
        model, t5, vae21, vae22, utils, configs = (importlib.import_module(name) for name in names)
        tasks = {name: load_task(name, configs) for name in TASKS}
    patch_transformer(model)
    patch_text_encoder(t5)
    patch_vae(vae21, VAE21_DIMENSIONS)
    patch_vae(vae22, VAE22_DIMENSIONS)
    return Official(model, t5, vae21, vae22, utils, tasks)
