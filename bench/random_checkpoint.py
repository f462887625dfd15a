"""A checkpoint of random weights in a published layout and size, for whole jobs with nothing to download.

    python bench/random_checkpoint.py --official Wan2.2 --task ti2v-5B --out /tmp/random-5B
    wan generate --task ti2v-5B --ckpt_dir /tmp/random-5B --prompt "a red circle" --sample_steps 3 --save_file /tmp/%05d.png

`--precision q4_k_m` writes the transformers as a GGUF file, with matrices of the blocks in Q4_K, and Q6_K where such files have that. Takes 23 GB of disk for ti2v-5B, 46 GB for s2v-14B, 47 GB for animate-14B and 40 GB for the others, whose two experts are one folder and a link to it. The
tokenizer is the demo's. Needs PyTorch, safetensors, a clone of Wan-Video/Wan2.2, whose modules say what the tensors are called, and for
s2v-14B and animate-14B transformers; a GPU makes the numbers sooner.
"""

import argparse
import json
import math
import shutil
import struct
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from vs_official import TEXT_WIDTH, TRANSFORMERS, import_official, stand_in, transformer_config

HERE = Path(__file__).resolve().parent
SHARD_BYTES = 4.5e9
PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
TEXT_ENCODER = {"vocabulary": 256384, "ffn": 10240, "heads": 64, "buckets": 32, "layers": 24}


def random(name, shape, dtype, device):
    """Norms' scales about 1, everything else of deviation 0.02: as `wan bench` has them."""
    scale = name.endswith("gamma") or (name.endswith("weight") and len(shape) == 1)
    return (torch.randn(shape, device=device) * 0.02 + (1.0 if scale else 0.0)).to(dtype).cpu()


def shapes_of(make):
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}


def write_config(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    name = {"s2v": "WanModel_S2V", "animate": "WanAnimateModel"}.get(config["model_type"], "WanModel")
    (folder / "config.json").write_text(json.dumps({"_class_name": name, "eps": 1e-6, "freq_dim": 256, **config}, indent=1))


def write_transformer(folder, shapes, dtype, device):
    weight_map, shard = {}, {}

    def flush():
        name = f"diffusion_pytorch_model-{len(set(weight_map.values())) + 1:05d}.safetensors"
        save_file(shard, folder / name)
        weight_map.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, shape in shapes.items():
        shard[name] = random(name, shape, dtype, device)
        if sum(tensor.nbytes for tensor in shard.values()) > SHARD_BYTES:
            flush()
    flush()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def random_blocks(count, size, halves):
    """`count` blocks of random bytes, [count, size] u8, with 16-bit floats at given places: {offset: value}."""
    blocks = numpy.random.default_rng(count).integers(0, 256, (min(count, 1 << 16), size), dtype=numpy.uint8)
    for offset, value in halves.items():
        blocks[:, offset : offset + 2] = numpy.frombuffer(struct.pack("<e", value), numpy.uint8)
    return numpy.resize(blocks, (count, size))


F32, Q4_K, Q6_K = 0, 12, 14  # ggml's numbers
GGUF_BYTES = {F32: lambda n: 4 * n, Q4_K: lambda n: n // 256 * 144, Q6_K: lambda n: n // 256 * 210}


def gguf_type(name, shape):
    if len(shape) != 2 or not name.startswith("blocks."):
        return F32
    return Q6_K if name.endswith((".v.weight", ".ffn.2.weight")) else Q4_K


def gguf_values(name, shape, device):
    """Of deviation 0.02, as random() has them."""
    blocks = math.prod(shape) // 256
    kind = gguf_type(name, shape)
    if kind == Q6_K:  # d * i8 * (q - 32)
        return random_blocks(blocks, 210, {208: 1.5e-5})
    if kind == Q4_K:  # d * 6 bits * q - dmin * 6 bits
        return random_blocks(blocks, 144, {0: 1.4e-4, 2: 7.5 * 1.4e-4})
    return random(name, shape, torch.float32, device).numpy()


def write_gguf(path, shapes, device):
    """Tensor by tensor: where they lie follows from their types."""
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    infos, end = b"", 0
    for name, shape in shapes.items():
        kind = gguf_type(name, shape)
        end += -end % 32
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, end)
        end += GGUF_BYTES[kind](math.prod(shape))
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), 1) + text("general.architecture") + struct.pack("<I", 8) + text("wan") + infos
    with path.open("wb") as file:
        file.write(header + bytes(-len(header) % 32))
        at = 0
        for name, shape in shapes.items():
            file.write(bytes(-at % 32))
            at += -at % 32
            at += file.write(gguf_values(name, shape, device).tobytes())


def text_encoder_shapes(layers):
    t = TEXT_ENCODER
    shapes = {"token_embedding.weight": (t["vocabulary"], TEXT_WIDTH), "norm.weight": (TEXT_WIDTH,)}
    for layer in range(layers):
        block = {f"attn.{name}.weight": (TEXT_WIDTH, TEXT_WIDTH) for name in "qkvo"}
        block |= {"norm1.weight": (TEXT_WIDTH,), "norm2.weight": (TEXT_WIDTH,),
                  "ffn.gate.0.weight": (t["ffn"], TEXT_WIDTH), "ffn.fc1.weight": (t["ffn"], TEXT_WIDTH),
                  "ffn.fc2.weight": (TEXT_WIDTH, t["ffn"]), "pos_embedding.embedding.weight": (t["buckets"], t["heads"])}
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def write_audio_encoder(folder):
    """wav2vec2-large-xlsr-53's shapes, as transformers draws and saves them."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
    config = Wav2Vec2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, vocab_size=33,
                            feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))


def write_image_encoder(official, path, device):
    """CLIP's image tower, ViT-H/14."""
    stand_in("ftfy")
    stand_in("torchvision.transforms")
    tower = import_official(official, "animate.clip").VisionTransformer
    shapes = shapes_of(lambda: tower(image_size=224, patch_size=14, dim=1280, mlp_ratio=4, out_dim=1024, num_heads=16, num_layers=32, pool_type="token",
                                     pre_norm=True, post_norm=False, activation="gelu"))
    write_pth(path, {f"visual.{name}": shape for name, shape in shapes.items()}, torch.float16, device)


def write_pth(path, shapes, dtype, device):
    torch.save({name: random(name, shape, dtype, device) for name, shape in shapes.items()}, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, help="a clone of Wan-Video/Wan2.2")
    parser.add_argument("--task", choices=TRANSFORMERS, default="t2v-A14B")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--precision", choices=[*PRECISIONS, "q4_k_m"], default="bf16", help="of the transformers")
    parser.add_argument("--num_layers", type=int, help="of transformer and text encoder; default: all")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    small, speech, animation = (args.task == task for task in ("ti2v-5B", "s2v-14B", "animate-14B"))

    config = transformer_config(args.task, args.num_layers)
    given = {name: value for name, value in config.items() if name != "model_type" or not animation}
    del config["text_dim"]  # files do without
    if speech:
        model = import_official(args.official, "s2v.model_s2v").WanModel_S2V
    elif animation:
        model = import_official(args.official, "animate.model_animate").WanAnimateModel
    else:
        model = import_official(args.official, "model").WanModel
    shapes = shapes_of(lambda: model(**given))
    one = small or speech or animation
    folder = args.out if one else args.out / "high_noise_model"
    write_config(folder, config)
    if args.precision == "q4_k_m":
        write_gguf(folder / "diffusion_pytorch_model-Q4_K_M.gguf", shapes, device)
    else:
        write_transformer(folder, shapes, PRECISIONS[args.precision], device)
    if not one:
        (args.out / "low_noise_model").symlink_to("high_noise_model")
    if speech:
        write_audio_encoder(args.out / "wav2vec2-large-xlsr-53-english")
    if animation:
        write_image_encoder(args.official, args.out / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", device)

    write_pth(args.out / "models_t5_umt5-xxl-enc-bf16.pth", text_encoder_shapes(args.num_layers or TEXT_ENCODER["layers"]),
              torch.bfloat16, device)
    vae = import_official(args.official, "vae2_2" if small else "vae2_1")
    widths = {"dim": 160, "dec_dim": 256, "z_dim": 48} if small else {"dim": 96, "z_dim": 16}
    shapes = shapes_of(lambda: vae.WanVAE_(**widths, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
                                           temperal_downsample=[False, True, True], dropout=0.0))
    write_pth(args.out / ("Wan2.2_VAE.pth" if small else "Wan2.1_VAE.pth"), shapes, torch.float32, device)
    shutil.copytree(HERE.parent / "models" / "demo" / "google", args.out / "google", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
