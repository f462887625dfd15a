"""Copies of a small official checkpoint in the layouts that others use: diffusers' folders and ComfyUI's files.

The names are written down here a second time, the other way round, from diffusers' and ComfyUI's own, so that a mistake in the
program's tables does not hide in the test's.
"""

import io
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path

from support import read_safetensors, write_safetensors


def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a .safetensors file."""
    header, body = read_safetensors(path)
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_tensors(path, tensors, metadata=None):
    header, body = ({"__metadata__": metadata} if metadata else {}), []
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + len(data)]}
        body.append(data)
        position += len(data)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, header, b"".join(body))


_DTYPES = {"FloatStorage": ("F32", 4), "BFloat16Storage": ("BF16", 2), "HalfStorage": ("F16", 2)}


def read_torch(path):
    """The same of a .pth of torch.save that holds a dictionary of whole row-major tensors."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith("/data.pkl"))
        root = pickled[: -len("data.pkl")]

        class Reader(pickle.Unpickler):
            def find_class(self, module, name):
                if name == "OrderedDict":
                    return dict
                if name == "_rebuild_tensor_v2":
                    return lambda storage, offset, size, stride, *rest: (storage, offset, size, stride)
                return name if name in _DTYPES else lambda *arguments: arguments

            def persistent_load(self, identifier):
                _, kind, key, _, _ = identifier
                return kind, archive.read(f"{root}data/{key}")

        tensors = {}
        for name, ((kind, data), offset, size, stride) in Reader(io.BytesIO(archive.read(pickled))).load().items():
            dtype, width = _DTYPES[kind]
            count, expected = 1, []
            for extent in reversed(size):
                expected.insert(0, count)
                count *= extent
            assert all(extent == 1 or a == b for extent, a, b in zip(size, stride, expected)), name
            tensors[name] = (dtype, size, data[offset * width : (offset + count) * width])
        return tensors


def renamed(tensors, rules):
    """Each name through the first rule whose pattern it matches whole."""
    result = {}
    for name, tensor in tensors.items():
        for pattern, new in rules:
            match = re.fullmatch(pattern, name)
            if match:
                result[match.expand(new) if isinstance(new, str) else new(match)] = tensor
                break
        else:
            raise AssertionError(f"no rule for {name}")
    return result


TO_DIFFUSERS_TRANSFORMER = [
    (r"patch_embedding\.(\w+)", r"patch_embedding.\1"),
    (r"text_embedding\.0\.(\w+)", r"condition_embedder.text_embedder.linear_1.\1"),
    (r"text_embedding\.2\.(\w+)", r"condition_embedder.text_embedder.linear_2.\1"),
    (r"time_embedding\.0\.(\w+)", r"condition_embedder.time_embedder.linear_1.\1"),
    (r"time_embedding\.2\.(\w+)", r"condition_embedder.time_embedder.linear_2.\1"),
    (r"time_projection\.1\.(\w+)", r"condition_embedder.time_proj.\1"),
    (r"head\.head\.(\w+)", r"proj_out.\1"),
    (r"head\.modulation", r"scale_shift_table"),
    (r"(blocks\.\d+)\.modulation", r"\1.scale_shift_table"),
    (r"(blocks\.\d+)\.norm3\.(\w+)", r"\1.norm2.\2"),
    (r"(blocks\.\d+)\.self_attn\.([qkv])\.(\w+)", r"\1.attn1.to_\2.\3"),
    (r"(blocks\.\d+)\.self_attn\.o\.(\w+)", r"\1.attn1.to_out.0.\2"),
    (r"(blocks\.\d+)\.self_attn\.norm_([qk])\.(\w+)", r"\1.attn1.norm_\2.\3"),
    (r"(blocks\.\d+)\.cross_attn\.([qkv])\.(\w+)", r"\1.attn2.to_\2.\3"),
    (r"(blocks\.\d+)\.cross_attn\.o\.(\w+)", r"\1.attn2.to_out.0.\2"),
    (r"(blocks\.\d+)\.cross_attn\.norm_([qk])\.(\w+)", r"\1.attn2.norm_\2.\3"),
    (r"(blocks\.\d+)\.ffn\.0\.(\w+)", r"\1.ffn.net.0.proj.\2"),
    (r"(blocks\.\d+)\.ffn\.2\.(\w+)", r"\1.ffn.net.2.\2"),
]

TO_DIFFUSERS_ANIMATE = [
    *TO_DIFFUSERS_TRANSFORMER,
    (r"pose_patch_embedding\.(\w+)", r"pose_patch_embedding.\1"),
    (r"img_emb\.proj\.0\.(\w+)", r"condition_embedder.image_embedder.norm1.\1"),
    (r"img_emb\.proj\.1\.(\w+)", r"condition_embedder.image_embedder.ff.net.0.proj.\1"),
    (r"img_emb\.proj\.3\.(\w+)", r"condition_embedder.image_embedder.ff.net.2.\1"),
    (r"img_emb\.proj\.4\.(\w+)", r"condition_embedder.image_embedder.norm2.\1"),
    (r"(blocks\.\d+)\.cross_attn\.([kv])_img\.(\w+)", r"\1.attn2.add_\2_proj.\3"),
    (r"(blocks\.\d+)\.cross_attn\.norm_k_img\.weight", r"\1.attn2.norm_added_k.weight"),
    (r"face_adapter\.fuser_blocks\.(\d+)\.linear1_([qkv])\.(\w+)", r"face_adapter.\1.to_\2.\3"),
    (r"face_adapter\.fuser_blocks\.(\d+)\.linear2\.(\w+)", r"face_adapter.\1.to_out.\2"),
    (r"face_adapter\.fuser_blocks\.(\d+)\.([qk])_norm\.weight", r"face_adapter.\1.norm_\2.weight"),
    (r"face_encoder\.(conv\w+)\.conv\.(\w+)", r"face_encoder.\1.\2"),
    (r"(face_encoder\.(?:out_proj\.\w+|padding_tokens))", r"\1"),
    (r"motion_encoder\.enc\.fc\.(\d+)\.(\w+)", r"motion_encoder.motion_network.\1.\2"),
    (r"motion_encoder\.dec\.direction\.weight", r"motion_encoder.motion_synthesis_weight"),
    (r"motion_encoder\.enc\.net_app\.convs\.0\.0\.weight", r"motion_encoder.conv_in.weight"),
    (r"motion_encoder\.enc\.net_app\.convs\.0\.1\.bias", r"motion_encoder.conv_in.act_fn.bias"),
    (r"motion_encoder\.enc\.net_app\.convs\.\d+\.weight", r"motion_encoder.conv_out.weight"),
    (r"motion_encoder\.enc\.net_app\.convs\.(\d+)\.(conv1|conv2|skip)\.\d\.(weight|bias)",
     lambda match: f"motion_encoder.res_blocks.{int(match[1]) - 1}.{'conv_skip' if match[2] == 'skip' else match[2]}."
                   f"{'act_fn.bias' if match[3] == 'bias' else 'weight'}"),
]

TO_CLIP = [
    (r"visual\.cls_embedding", r"vision_model.embeddings.class_embedding"),
    (r"visual\.pos_embedding", r"vision_model.embeddings.position_embedding.weight"),
    (r"visual\.patch_embedding\.weight", r"vision_model.embeddings.patch_embedding.weight"),
    (r"visual\.pre_norm\.(\w+)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.post_norm\.(\w+)", r"vision_model.post_layernorm.\1"),
    (r"visual\.transformer\.(\d+)\.norm([12])\.(\w+)", r"vision_model.encoder.layers.\1.layer_norm\2.\3"),
    (r"visual\.transformer\.(\d+)\.attn\.to_([qkv])\.(\w+)", r"vision_model.encoder.layers.\1.self_attn.\2_proj.\3"),
    (r"visual\.transformer\.(\d+)\.attn\.proj\.(\w+)", r"vision_model.encoder.layers.\1.self_attn.out_proj.\2"),
    (r"visual\.transformer\.(\d+)\.mlp\.0\.(\w+)", r"vision_model.encoder.layers.\1.mlp.fc1.\2"),
    (r"visual\.transformer\.(\d+)\.mlp\.2\.(\w+)", r"vision_model.encoder.layers.\1.mlp.fc2.\2"),
]

_RESIDUAL = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2",
             "shortcut": "conv_shortcut"}


def _residual(part):
    for old, new in _RESIDUAL.items():
        if part.startswith(old + "."):
            return new + part[len(old):]
    return part


def _up(match):
    index, part = int(match[1]), match[2]
    return (f"decoder.up_blocks.{index // 4}." +
            (f"upsamplers.0.{part}" if index % 4 == 3 else f"resnets.{index % 4}.{_residual(part)}"))


TO_DIFFUSERS_VAE = [
    (r"conv1\.(\w+)", r"quant_conv.\1"),
    (r"conv2\.(\w+)", r"post_quant_conv.\1"),
    (r"(encoder|decoder)\.conv1\.(\w+)", r"\1.conv_in.\2"),
    (r"(encoder|decoder)\.head\.0\.(\w+)", r"\1.norm_out.\2"),
    (r"(encoder|decoder)\.head\.2\.(\w+)", r"\1.conv_out.\2"),
    (r"(encoder|decoder)\.middle\.1\.(.+)", r"\1.mid_block.attentions.0.\2"),
    (r"(encoder|decoder)\.middle\.([02])\.(.+)",
     lambda match: f"{match[1]}.mid_block.resnets.{int(match[2]) // 2}.{_residual(match[3])}"),
    (r"encoder\.downsamples\.(\d+)\.(.+)", lambda match: f"encoder.down_blocks.{match[1]}.{_residual(match[2])}"),
    (r"decoder\.upsamples\.(\d+)\.(.+)", _up),
]

TO_TRANSFORMERS = [
    (r"token_embedding\.weight", r"shared.weight"),
    (r"norm\.weight", r"encoder.final_layer_norm.weight"),
    (r"blocks\.(\d+)\.attn\.([qkvo])\.weight", r"encoder.block.\1.layer.0.SelfAttention.\2.weight"),
    (r"blocks\.(\d+)\.pos_embedding\.embedding\.weight",
     r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.weight"),
    (r"blocks\.(\d+)\.norm1\.weight", r"encoder.block.\1.layer.0.layer_norm.weight"),
    (r"blocks\.(\d+)\.norm2\.weight", r"encoder.block.\1.layer.1.layer_norm.weight"),
    (r"blocks\.(\d+)\.ffn\.gate\.0\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wi_0.weight"),
    (r"blocks\.(\d+)\.ffn\.fc1\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wi_1.weight"),
    (r"blocks\.(\d+)\.ffn\.fc2\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wo.weight"),
]


def divided(tensors, fused, letters):
    """With each `fused` layer in pieces of its rows, named by letters: "linear1_kv" is "linear1_k" and "linear1_v"."""
    result = {}
    for name, (dtype, shape, data) in tensors.items():
        if f".{fused}." not in name:
            result[name] = dtype, shape, data
            continue
        size = len(data) // len(letters)
        for place, letter in enumerate(letters):
            result[name.replace(f".{fused}.", f".{fused[: -len(letters)]}{letter}.")] = (
                dtype, [shape[0] // len(letters), *shape[1:]], data[place * size : (place + 1) * size])
    return result


def flattened(tensors, names):
    """Those whose names match without their dimensions of one."""
    return {name: (dtype, [extent for extent in shape if extent != 1] if re.fullmatch(names, name) else shape, data)
            for name, (dtype, shape, data) in tensors.items()}


def _expert(checkpoint, folder):
    return read_tensors(next((checkpoint / folder).glob("*.safetensors")))


def _copy_defaults(checkpoint, target):
    if (checkpoint / "generation_config.json").exists():
        shutil.copy(checkpoint / "generation_config.json", target)


def _write_transformer(target, tensors, official, **more):
    """`official` is its official config.json."""
    write_tensors(target / "diffusion_pytorch_model.safetensors", tensors, {"format": "pt"})
    (target / "config.json").write_text(json.dumps({
        "_class_name": "WanTransformer3DModel", "_diffusers_version": "0.35.0.dev0", "added_kv_proj_dim": None,
        "attention_head_dim": official["dim"] // official["num_heads"], "cross_attn_norm": True, "eps": official["eps"],
        "ffn_dim": official["ffn_dim"], "freq_dim": official["freq_dim"], "image_dim": None,
        "in_channels": official["in_dim"], "num_attention_heads": official["num_heads"],
        "num_layers": official["num_layers"], "out_channels": official["out_dim"], "patch_size": [1, 2, 2],
        "pos_embed_seq_len": None, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 64, **more}))


def make_diffusers(checkpoint, target):
    """As DiffusionPipeline.save_pretrained() writes WanPipeline, the text encoder in two shards."""
    for folder, expert in (("transformer", "high_noise_model"), ("transformer_2", "low_noise_model")):
        _write_transformer(target / folder, renamed(_expert(checkpoint, expert), TO_DIFFUSERS_TRANSFORMER),
                           json.loads((checkpoint / expert / "config.json").read_text()))
    _write_diffusers_parts(checkpoint, target)
    (target / "model_index.json").write_text(json.dumps({
        "_class_name": "WanPipeline", "boundary_ratio": 0.875, "expand_timesteps": False,
        "transformer": ["diffusers", "WanTransformer3DModel"], "transformer_2": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"], "text_encoder": ["transformers", "UMT5EncoderModel"]}))
    return target


def animate_transformer_of_diffusers(tensors):
    """The official transformer's as WanAnimateTransformer3DModel has it: the blurs are constants there, the activations' biases vectors."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(".kernel")}
    return renamed(divided(flattened(kept, r"motion_encoder\..+\.bias"), "linear1_kv", "kv"), TO_DIFFUSERS_ANIMATE)


def clip_of_transformers(tensors):
    """The official CLIP's picture tower as CLIPVisionModel has it."""
    visual = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.") and name != "visual.head"}
    return renamed(divided(flattened(visual, r"visual\.(cls|pos)_embedding"), "attn.to_qkv", "qkv"), TO_CLIP)


def make_animate_diffusers(checkpoint, target):
    """As DiffusionPipeline.save_pretrained() writes WanAnimatePipeline."""
    _write_transformer(target / "transformer",
                       animate_transformer_of_diffusers(read_tensors(checkpoint / "diffusion_pytorch_model.safetensors")),
                       json.loads((checkpoint / "config.json").read_text()),
                       _class_name="WanAnimateTransformer3DModel", inject_face_latents_blocks=5)
    image_encoder = next(checkpoint.glob("models_clip_*.pth"))
    write_tensors(target / "image_encoder/model.safetensors", clip_of_transformers(read_torch(image_encoder)), {"format": "pt"})
    (target / "image_encoder/config.json").write_text(json.dumps({"architectures": ["CLIPVisionModel"], "hidden_act": "gelu"}))
    _write_diffusers_parts(checkpoint, target)
    (target / "model_index.json").write_text(json.dumps({
        "_class_name": "WanAnimatePipeline", "transformer": ["diffusers", "WanAnimateTransformer3DModel"],
        "image_encoder": ["transformers", "CLIPVisionModel"], "image_processor": ["transformers", "CLIPImageProcessor"],
        "vae": ["diffusers", "AutoencoderKLWan"], "text_encoder": ["transformers", "UMT5EncoderModel"]}))
    return target


def _write_diffusers_parts(checkpoint, target):
    """All but the transformers and the index."""
    write_tensors(target / "vae/diffusion_pytorch_model.safetensors",
                  renamed(read_torch(checkpoint / "Wan2.1_VAE.pth"), TO_DIFFUSERS_VAE))
    (target / "vae/config.json").write_text(json.dumps({
        "_class_name": "AutoencoderKLWan", "z_dim": 16,
        "latents_mean": [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497,
                         0.2503, -0.2921],
        "latents_std": [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251,
                        1.9160]}))
    text = renamed(read_torch(checkpoint / "models_t5_umt5-xxl-enc-bf16.pth"), TO_TRANSFORMERS)
    text["encoder.embed_tokens.weight"] = text["shared.weight"]
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    for index, (name, tensor) in enumerate(text.items()):
        shards[list(shards)[index % 2]][name] = tensor
    for shard, tensors in shards.items():
        write_tensors(target / "text_encoder" / shard, tensors)
    (target / "text_encoder/model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {}, "weight_map": {name: shard for shard, tensors in shards.items() for name in tensors}}))
    shutil.copytree(checkpoint / "google/umt5-xxl", target / "tokenizer")
    _copy_defaults(checkpoint, target)


def make_comfyui(checkpoint, target, prefix=""):
    """As Comfy-Org's repackaged files lie; the tokenizer is inside the text encoder's. With a config.json beside the experts where
    these have no heads of 128, which shapes do not tell."""
    files = target / "split_files"
    for noise in ("high", "low"):
        tensors = _expert(checkpoint, f"{noise}_noise_model")
        write_tensors(files / f"diffusion_models/wan2.2_t2v_{noise}_noise_14B_fp16.safetensors",
                      {prefix + name: tensor for name, tensor in tensors.items()})
    shutil.copy(checkpoint / "high_noise_model/config.json", files / "diffusion_models")
    _write_comfyui_parts(checkpoint, target)
    return target


def make_animate_comfyui(checkpoint, target):
    """The same of Animate, with its CLIP."""
    files = target / "split_files"
    write_tensors(files / "diffusion_models/wan2.2_animate_14B_bf16.safetensors",
                  read_tensors(checkpoint / "diffusion_pytorch_model.safetensors"))
    shutil.copy(checkpoint / "config.json", files / "diffusion_models")
    write_tensors(files / "clip_vision/clip_vision_h.safetensors", clip_of_transformers(read_torch(next(checkpoint.glob("models_clip_*.pth")))))
    _write_comfyui_parts(checkpoint, target)
    return target


def _write_comfyui_parts(checkpoint, target):
    """All but the transformers, and CLIP."""
    files = target / "split_files"
    write_tensors(files / "vae/wan_2.1_vae.safetensors", read_torch(checkpoint / "Wan2.1_VAE.pth"))
    text = renamed(read_torch(checkpoint / "models_t5_umt5-xxl-enc-bf16.pth"), TO_TRANSFORMERS)
    spiece = (checkpoint / "google/umt5-xxl/spiece.model").read_bytes()
    text["spiece_model"] = ("U8", [len(spiece)], spiece)
    write_tensors(files / "text_encoders/umt5_xxl_fp16.safetensors", text)
    _copy_defaults(checkpoint, target)
