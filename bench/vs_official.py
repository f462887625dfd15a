"""The official PyTorch code beside `wan bench`, at the same shapes, with random weights, on one device in one run.

    python bench/vs_official.py --official Wan2.2 --task t2v-A14B --size 1280*720 --frame_num 81

Both make their weights on the device; nothing is downloaded. The official transformer has bf16 parameters and runs under bf16
autocast, as generate.py --convert_model_dtype has it, with cuDNN's attention in place of flash-attn; its VAE has fp32
parameters, under bf16 autocast with --vae_precision bf16. On the CPU all of it is fp32. Each side and phase is a process of its
own, so that memory is that phase's. With --gpus N the official forward runs under torchrun and its own Ulysses, --fsdp over its own
sharded weights, while its VAE has one GPU, as generate.py has it; --device cpu has N processes over gloo instead. Needs PyTorch; of what else the official modules import (diffusers, einops) the little that
these phases use has a stand-in where it is not installed.
"""

import argparse
import contextlib
import importlib
import importlib.util
import json
import math
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
PHASES = ("forward", "first", "decode", "encode")
A14B = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "in_dim": 16, "out_dim": 16}
TRANSFORMERS = {
    "t2v-A14B": {"model_type": "t2v", **A14B},
    "i2v-A14B": {"model_type": "i2v", **A14B, "in_dim": 36},
    "ti2v-5B": {"model_type": "ti2v", "dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "in_dim": 48,
                "out_dim": 48},
    "s2v-14B": {"model_type": "s2v", **A14B, "cond_dim": 16, "audio_dim": 1024, "num_audio_token": 4, "enable_adain": True,
                "audio_inject_layers": [0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39], "zero_timestep": True,
                "zero_init": True, "adain_mode": "attn_norm", "enable_motioner": False, "add_last_motion": True, "enable_tsm": False,
                "trainable_token_pos_emb": False, "motion_token_num": 1024, "enable_framepack": True, "framepack_drop_mode": "padd"},
    "animate-14B": {"model_type": "animate", **A14B, "in_dim": 36, "motion_encoder_dim": 512, "use_img_emb": True},
}
FRAMES = {"s2v-14B": 80, "animate-14B": 77}  # of a clip
TEXT_TOKENS, TEXT_WIDTH = 512, 4096
AUDIO_LAYERS, MOTION_FRAMES, MOTION_LATENTS = 25, 73, 19  # of a clip of speech
IMAGE_TOKENS, IMAGE_WIDTH, FACE_SIDE = 257, 1280, 512  # of a character's picture and a clip's faces


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, help="a clone of Wan-Video/Wan2.2")
    parser.add_argument("--wan", type=Path, default=HERE.parent / "build" / "apps" / "cli" / "wan", help="the program")
    parser.add_argument("--task", choices=TRANSFORMERS, default="t2v-A14B")
    parser.add_argument("--size", default="832*480", help="width*height in pixels")
    parser.add_argument("--frame_num", type=int, default=0, help="default: 81; s2v-14B and animate-14B: a clip's, 80 and 77")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--gpus", type=int, default=1, help="how many work together")
    parser.add_argument("--fsdp", action="store_true", help="with --gpus: the official weights are sharded (FSDP)")
    parser.add_argument("--phases", 
                        help="of forward, decode, encode, with commas between (default: forward and decode); s2v-14B: forward is a later clip's, first a first one's; animate-14B: forward alone")
    parser.add_argument("--vae_precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--num_layers", type=int, default=0, help="of the transformer; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--official_phase", choices=PHASES, help=argparse.SUPPRESS)  # what a process of its own measures
    args = parser.parse_args()
    speech, clips = args.task == "s2v-14B", args.task in FRAMES
    args.phases = (args.phases or ("forward,first" if speech else "forward" if clips else "forward,decode")).split(",")
    for phase in args.phases:
        if phase not in PHASES:
            parser.error(f"--phases {phase}: expected forward, first, decode or encode")
    args.frame_num = args.frame_num or FRAMES.get(args.task, 81)
    if clips and ({"decode", "encode"} & set(args.phases) or args.gpus > 1):
        parser.error(f"--task {args.task}: its passes on one GPU are compared")
    if not speech and "first" in args.phases:
        parser.error(f"--phases first: {args.task} makes no video of clips")
    if args.gpus < 1 or (args.fsdp and args.gpus == 1):
        parser.error(f"--gpus {args.gpus}: expected 1 or more, and with --fsdp 2 or more")
    if args.fsdp and args.device == "cpu":
        parser.error("--fsdp: the official code shards on GPUs alone")
    if not (args.official / "wan" / "modules" / "model.py").is_file():
        parser.error(f"--official {args.official}: expected a clone of https://github.com/Wan-Video/Wan2.2")
    if not args.official_phase and not args.wan.is_file():
        parser.error(f"--wan {args.wan} does not exist; build it first")
    if not re.fullmatch(r"[1-9]\d*[*x][1-9]\d*", args.size):
        parser.error(f"--size {args.size}: expected width*height, such as 832*480")
    args.width, args.height = map(int, re.split(r"[*x]", args.size))
    return args


# The official modules, imported without their packages' __init__.py.

def rearrange(x, pattern, **sizes):
    """einops.rearrange where each name stands once on each side; sizes of all names in brackets but one are given."""
    left, right = ([group.strip("()").split() for group in re.findall(r"\([^)]*\)|\w+", side)]
                   for side in pattern.split("->"))
    if len(left) != x.dim() or sorted(sum(left, [])) != sorted(sum(right, [])):
        raise ValueError(f"rearrange {pattern!r} of {tuple(x.shape)}")
    for group, extent in zip(left, x.shape):
        known = 1
        for name in group:
            known *= sizes.get(name, 1)
        for name in group:
            sizes.setdefault(name, extent // known)
    names = sum(left, [])
    x = x.reshape([sizes[name] for name in names]).permute([names.index(name) for name in sum(right, [])])
    return x.reshape([math.prod(sizes[name] for name in group) for group in right])


def stand_in(name, **members):
    """A module of these members under `name`, where no package of that name is installed."""
    with contextlib.suppress(ImportError, ValueError):
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            return
    module = types.ModuleType(name)
    module.__dict__.update(members)
    module.__path__ = []
    sys.modules[name] = module


def adaptive_norm():
    """diffusers' AdaLayerNorm as the audio injector uses it: normed rows [n, tokens, dim], shift and scale of rows temb [n, width]."""
    import torch

    class AdaLayerNorm(torch.nn.Module):
        def __init__(self, embedding_dim, output_dim, chunk_dim):
            super().__init__()
            assert chunk_dim == 1
            self.linear = torch.nn.Linear(embedding_dim, output_dim)
            self.norm = torch.nn.LayerNorm(output_dim // 2, eps=1e-5, elementwise_affine=False)

        def forward(self, x, temb):
            shift, scale = self.linear(torch.nn.functional.silu(temb))[:, None].chunk(2, dim=-1)
            return self.norm(x) * (1 + scale) + shift
    return AdaLayerNorm


def import_official(folder, module, package="modules"):
    import torch
    stand_in("einops", rearrange=rearrange, repeat=None)
    stand_in("diffusers")
    empty = lambda name: type(name, (), {})
    stand_in("diffusers.configuration_utils", ConfigMixin=empty("ConfigMixin"), register_to_config=lambda function: function)
    stand_in("diffusers.models", ModelMixin=torch.nn.Module)
    stand_in("diffusers.models.modeling_utils", ModelMixin=torch.nn.Module)
    stand_in("diffusers.models.attention", AdaLayerNorm=adaptive_norm())
    stand_in("diffusers.loaders", FromOriginalModelMixin=object, PeftAdapterMixin=empty("PeftAdapterMixin"))
    stand_in("diffusers.utils", BaseOutput=object, is_torch_version=None, logging=None)
    for name in ("wan", "wan.modules", "wan.modules.s2v", "wan.modules.animate", "wan.distributed"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(folder / name.replace(".", "/"))]
    return importlib.import_module(f"wan.{package}.{module}")


def attention_for(device):
    """Stands in for flash_attention(): [B, L, heads, width] of full sequences, so that no key is masked."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    backend = SDPBackend.CUDNN_ATTENTION if device == "cuda" else SDPBackend.MATH
    dtype = torch.bfloat16 if device == "cuda" else torch.float32

    def attention(q, k, v, k_lens=None, **_):
        out_dtype = q.dtype
        q, k, v = (x.to(dtype).transpose(1, 2) for x in (q, k, v))
        with sdpa_kernel(backend):
            x = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return x.transpose(1, 2).contiguous().to(out_dtype)
    return attention


def randomize(model):
    """Norms' scales about 1, everything else of deviation 0.02: as `wan bench` has them."""
    import torch
    for name, weight in model.named_parameters():
        scale = name.endswith("gamma") or (name.endswith("weight") and weight.dim() == 1)
        torch.nn.init.normal_(weight, mean=1.0 if scale else 0.0, std=0.02)


def latent_shape(args):
    stride, channels = (16, 48) if args.task == "ti2v-5B" else (8, 16)
    return channels, (args.frame_num - 1) // 4 + 1, args.height // stride, args.width // stride


def divide(args, model):
    """The model over the processes of torchrun, as the official pipelines do it."""
    import torch
    import torch.distributed as dist
    sequence = import_official(args.official, "sequence_parallel", "distributed")
    attention = attention_for(args.device)
    if args.device == "cpu":  # its layers are not under autocast, and gloo has no all_to_all() of lists
        attend = attention
        attention = lambda *tensors, **options: attend(*tensors, **options).float()

        def all_to_all(outputs, inputs, group=None):
            for peer in range(dist.get_world_size()):
                gathered = [torch.empty_like(inputs[peer]) for _ in inputs] if peer == dist.get_rank() else None
                dist.gather(inputs[peer], gathered, dst=peer, group=group)
                for output, part in zip(outputs, gathered or []):
                    output.copy_(part)
        dist.all_to_all = all_to_all
    sys.modules["wan.distributed.ulysses"].flash_attention = attention
    for block in model.blocks:
        block.self_attn.forward = types.MethodType(sequence.sp_attn_forward, block.self_attn)
    model.forward = types.MethodType(sequence.sp_dit_forward, model)
    if not args.fsdp:
        return model
    shards = import_official(args.official, "fsdp", "distributed")
    return shards.shard_model(model, device_id=torch.cuda.current_device() if args.device == "cuda" else torch.device("cpu"))


def transformer_config(task, num_layers):
    """As the published config.json has it, of `num_layers` layers or (0) all."""
    config = dict(TRANSFORMERS[task], text_len=TEXT_TOKENS, text_dim=TEXT_WIDTH)
    if num_layers:
        config["num_layers"] = num_layers
        if task == "s2v-14B":
            config["audio_inject_layers"] = [block for block in config["audio_inject_layers"] if block < num_layers]
    return config


def make_transformer(args, constructor):
    import torch
    config = transformer_config(args.task, args.num_layers)
    if args.task == "animate-14B":  # whose class takes no type
        del config["model_type"]
    before = torch.get_default_dtype()
    torch.set_default_dtype(low_precision(args))
    try:
        with torch.device(args.device):
            model = constructor(**config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
    randomize(model)
    return model


def low_precision(args):
    import torch
    return torch.bfloat16 if args.device == "cuda" else torch.float32


def build_forward(args):
    import torch
    module = import_official(args.official, "model")
    module.flash_attention = attention_for(args.device)
    model = make_transformer(args, module.WanModel)
    if args.gpus > 1:
        model = divide(args, model)
    channels, frames, height, width = latent_shape(args)
    latent = torch.randn(channels, frames, height, width, device=args.device)
    extra = TRANSFORMERS[args.task]["in_dim"] - TRANSFORMERS[args.task]["out_dim"]
    y = [torch.randn(extra, frames, height, width, device=args.device)] if extra else None
    context = [torch.randn(TEXT_TOKENS, TEXT_WIDTH, device=args.device, dtype=low_precision(args))]
    timestep = torch.tensor([900.0], device=args.device)
    tokens = math.ceil(frames * (height // 2) * (width // 2) / args.gpus) * args.gpus

    def call():
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=args.device == "cuda"):
            return model([latent], t=timestep, context=context, seq_len=tokens, y=y)[0]
    return call


def build_speech_forward(args):
    """A pass of a later clip of speech, or with the phase `first` of one that has no frames before it."""
    import torch
    modules = [import_official(args.official, name) for name in ("model", "s2v.motioner", "s2v.model_s2v")]
    for module in modules:
        module.flash_attention = attention_for(args.device)
    model = make_transformer(args, modules[-1].WanModel_S2V)
    first = args.official_phase == "first"
    frames, height, width = args.frame_num // 4, args.height // 8, args.width // 8
    draw = lambda *shape: torch.randn(shape, device=args.device, dtype=low_precision(args))
    given = {"context": [draw(TEXT_TOKENS, TEXT_WIDTH)], "ref_latents": [draw(16, 1, height, width)],
             "motion_latents": [draw(16, MOTION_LATENTS, height, width)], "cond_states": [draw(16, frames, height, width)],
             "audio_input": draw(1, AUDIO_LAYERS, 1024, args.frame_num), "motion_frames": [MOTION_FRAMES, MOTION_LATENTS],
             "drop_motion_frames": first, "seq_len": 0, "t": torch.tensor([900.0], device=args.device)}
    latent = torch.randn(16, frames, height, width, device=args.device)

    def call():
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=args.device == "cuda"):
            return model([latent], **given)[0]
    return call


def build_animation_forward(args):
    """A pass of any clip: a first one has other values and no other shapes. As officially it begins with the faces, which ours computes once a clip."""
    import torch
    module = import_official(args.official, "animate.model_animate")
    faces = import_official(args.official, "animate.face_blocks")
    module.flash_attention = faces.flash_attn_func = attention_for(args.device)
    model = make_transformer(args, module.WanAnimateModel)
    frames, height, width = (args.frame_num - 1) // 4 + 2, args.height // 8, args.width // 8
    draw = lambda *shape: torch.randn(shape, device=args.device, dtype=low_precision(args))
    given = {"context": [draw(TEXT_TOKENS, TEXT_WIDTH)], "clip_fea": draw(1, IMAGE_TOKENS, IMAGE_WIDTH), "y": [draw(20, frames, height, width)],
             "pose_latents": [draw(16, frames - 1, height, width)], "face_pixel_values": draw(1, 3, args.frame_num, FACE_SIDE, FACE_SIDE).clamp(-1, 1),
             "seq_len": frames * (height // 2) * (width // 2), "t": torch.tensor([900.0], device=args.device)}
    latent = torch.randn(16, frames, height, width, device=args.device)

    def call():
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=args.device == "cuda"):
            return model([latent], **given)[0]
    return call


def build_vae(args):
    import torch
    small = args.task == "ti2v-5B"
    module = import_official(args.official, "vae2_2" if small else "vae2_1")
    widths = {"dim": 160, "dec_dim": 256, "z_dim": 48} if small else {"dim": 96, "z_dim": 16}
    with torch.device(args.device):
        model = module.WanVAE_(**widths, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
                               temperal_downsample=[False, True, True], dropout=0.0).eval().requires_grad_(False)
    randomize(model)
    channels = widths["z_dim"]
    scale = [torch.zeros(channels, device=args.device), torch.ones(channels, device=args.device)]
    bf16 = args.vae_precision == "bf16"
    if args.official_phase == "decode":
        given = torch.randn(1, *latent_shape(args), device=args.device)
        run = lambda: model.decode(given, scale).float().clamp_(-1, 1)
    else:
        given = torch.rand(1, 3, args.frame_num, args.height, args.width, device=args.device) * 2 - 1
        run = lambda: model.encode(given, scale).float()

    def call():
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=bf16):
            return run()
    return call


def measure_official(args):
    """Prints one phase's measurement as JSON."""
    import torch
    cuda = args.device == "cuda"
    if cuda and not torch.cuda.is_available():
        sys.exit("--device cuda: PyTorch sees no GPU; use --device cpu")
    together = args.gpus > 1 and args.official_phase == "forward"
    if together:
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    torch.manual_seed(0)  # the same weights and inputs everywhere
    seconds = []
    with torch.inference_mode():
        passes = {"s2v-14B": build_speech_forward, "animate-14B": build_animation_forward}.get(args.task, build_forward)
        call = (build_vae if args.official_phase in ("decode", "encode") else passes)(args)
        for repeat in range(args.warmup + args.repeats):
            if cuda:
                torch.cuda.synchronize()
            if together:
                torch.distributed.barrier()
            start = time.perf_counter()
            result = call()
            if cuda:
                torch.cuda.synchronize()
            if repeat >= args.warmup:
                seconds.append(time.perf_counter() - start)
        finite = bool(torch.isfinite(result).all())
        shape = list(result.shape)
    if together:
        first = torch.distributed.get_rank() == 0
        torch.distributed.destroy_process_group()
        if not first:
            return
    print(json.dumps({"phase": args.official_phase, "seconds": seconds, "median_seconds": statistics.median(seconds),
                      "shape": shape, "finite": finite, "torch": torch.__version__,
                      "device": torch.cuda.get_device_name() if cuda else "cpu",
                      "peak_device_bytes": torch.cuda.max_memory_allocated() if cuda else 0,
                      "device_used_bytes": torch.cuda.max_memory_reserved() if cuda else 0,
                      "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def run_json(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\nfailed")
    return json.loads(done.stdout)


def common_options(args):
    options = ["--task", args.task, "--size", f"{args.width}*{args.height}", "--frame_num", str(args.frame_num),
               "--device", args.device, "--vae_precision", args.vae_precision, "--repeats", str(args.repeats),
               "--warmup", str(args.warmup)]
    return options + (["--num_layers", str(args.num_layers)] if args.num_layers else [])


def our_ranks(args):
    if args.gpus == 1:
        return []
    return ["--gpus" if args.device == "cuda" else "--ulysses_size", str(args.gpus)]


def their_command(args, phase):
    together = args.gpus > 1 and phase == "forward"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(args.gpus)] if together else []
    ranks = ["--gpus", str(args.gpus), *(["--fsdp"] if args.fsdp else [])] if together else []
    return [sys.executable, *launcher, str(Path(__file__).resolve()), "--official", str(args.official), *common_options(args), *ranks,
            "--official_phase", phase]


def report(args, official, wan):
    together = f" and {args.gpus - 1} more{', FSDP' if args.fsdp else ''}" if args.gpus > 1 else ""
    print(f"{args.task} {args.width}*{args.height} x {args.frame_num}, {official[args.phases[0]]['device']}{together}, "
          f"PyTorch {official[args.phases[0]]['torch']}, {args.repeats} repeats after {args.warmup}")
    kind = "peak_device_bytes" if args.device == "cuda" else "peak_host_bytes"
    print(f"{'phase':9}{'official s':>12}{'wan s':>10}{'ratio':>8}{'official GB':>13}{'wan GB':>9}{'ratio':>8}{'wan TF/s':>10}")
    for phase in args.phases:
        theirs, ours = official[phase], wan[phase]
        print(f"{phase:9}{theirs['median_seconds']:12.3f}{ours['median_seconds']:10.3f}"
              f"{theirs['median_seconds'] / ours['median_seconds']:8.2f}{theirs[kind] / 1e9:13.2f}{ours[kind] / 1e9:9.2f}"
              f"{theirs[kind] / max(ours[kind], 1):8.2f}{ours['flops_per_second'] / 1e12:10.3g}")
        if not theirs["finite"] or ours["non_finite"]:
            print(f"  note: {phase} gave values that are not finite")


def main():
    args = parse_arguments()
    if args.official_phase:
        return measure_official(args)
    official, wan, commands = {}, {}, []
    for phase in args.phases:  # side by side, so that both meet the same machine
        ours = [str(args.wan), "bench", *common_options(args), *our_ranks(args), "--phases", phase, "--json"]
        theirs = their_command(args, phase)
        commands += [shlex.join(ours), shlex.join(theirs)]
        wan[phase] = run_json(ours)["rows"][0]
        official[phase] = run_json(theirs)
    report(args, official, wan)
    if args.json:
        args.json.write_text(json.dumps({"official": official, "wan": wan, "commands": commands}, indent=1) + "\n")


if __name__ == "__main__":
    main()
