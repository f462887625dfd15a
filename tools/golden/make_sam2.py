"""Make the golden files of the video segmenter: tests/golden/sam2.

    python tools/golden/make_sam2.py --sam2_dir sam2 --wan_dir Wan2.2 --out tests/golden/sam2

What the official preprocessing's SAM2VideoPredictor, on the CPU in fp32, makes of a small random SAM 2 and a made video. --sam2_dir is
facebookresearch/sam2 at commit 0e78a118995e66bb27d78518c4bd9a3e95b4e266, which the official requirements name. Versions: requirements.txt
beside this file, and hydra-core 1.3.8 and opencv-python-headless 5.0.0 (for connected parts, which are a CUDA kernel officially).

weights.txt     a line a tensor: name, offset, scale, dimensions; value i is offset + scale x_i (rule_values() below)
tracked.safetensors    nine frames, of which the first has three points and the fifth one
  points.FRAME [n, 2] f32, settings [7] int64: image_size, first_heads, decoder_heads, memory_heads, most_pointers, hole_area, frames
  size [2] int64: width and height of a frame; its pixels are frame() below
  tap.NAME: the first call's output; tap.NAME.K: the K-th call's
  masks [9, bytes]: bits of each frame's mask, the first pixel in the highest bit; unsure: where a logit is within 2e-3 of 0
absent.safetensors     four frames, the same but for a bias that says that there never is an object
"""

import argparse
import contextlib
import math
import sys
from pathlib import Path

import numpy as np
import torch

import thin

SIZE = (90, 70)  # width, height
IMAGE_SIZE, DIM, MEMORY_DIM, MEMORIES, POINTERS = 128, 64, 16, 4, 5
WINDOWS, GLOBAL_BLOCKS, STAGES, CHANNELS, HEADS = (8, 4, 6, 3), (4,), (1, 2, 3, 2), 16, 2
UNSURE = 2e-3
POINTS = {0: [[40, 30], [52, 41], [61.5, 20.25]], 4: [[47, 33]]}


def splitmix(values):
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def rule_values(name, offset, scale, count):
    """Uniform with the deviation `scale`: 24 bits of a hash of the name's FNV-1a hash and the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        bits = splitmix(splitmix(np.array([seed], np.uint64)) + np.arange(count, dtype=np.uint64)) >> np.uint64(40)
    return (offset + scale * (bits.astype(np.float64) / 2**23 - 1.0)).astype(np.float32)


def rule_of(name, shape):
    """(offset, scale): nothing is zero or one throughout, and what trained models have small is not."""
    root3 = math.sqrt(3.0)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "gamma":
        return 0.5, 0.3
    if name == "sam_mask_decoder.pred_obj_score_head.layers.2.bias":
        return 4.0, 0.1
    if leaf == "weight" and len(shape) == 1:
        return 1.0, 0.25
    if leaf == "bias":
        return 0.0, 0.2
    if "pos_embed" in name:
        return 0.0, 0.6
    if name in ("maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc"):
        return 0.0, 1.0
    if "token" in name and len(shape) == 2 and "attn" not in name or "embed" in name and "proj" not in name:
        return 0.0, root3
    if name == "no_obj_ptr" or leaf == "positional_encoding_gaussian_matrix":
        return 0.0, root3
    fan = shape[0] * 4 if "output_upscaling" in name else math.prod(shape[1:])
    gain = 1.6 if "q_proj" in name or "k_proj" in name or "hypernetworks" in name or "iou_prediction" in name else 1.0
    return 0.0, gain * root3 / math.sqrt(fan)


def frame(index):
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    inside = (x - 40 - 3 * index) ** 2 + (y - 32 - index) ** 2 < 400
    channels = [(x * x // 8 + 5 * y + 60 * c + 13 * index) % 256 for c in range(3)]
    return np.stack([np.where(inside, 255 - c, c) for c in channels], axis=2).astype(np.uint8)


@contextlib.contextmanager
def on_cpu():
    """The official code asks for the GPU by name."""
    moves = torch.Tensor.cuda
    torch.Tensor.cuda = lambda self, *_, **__: self
    try:
        yield
    finally:
        torch.Tensor.cuda = moves


def connected_parts(mask):
    """The CUDA kernel's labels and areas: neighbours on eight sides."""
    import cv2
    labels = np.zeros(mask.shape, np.int32)
    areas = np.zeros(mask.shape, np.int32)
    for i, picture in enumerate(mask[:, 0].numpy().astype(np.uint8)):
        _, found, facts, _ = cv2.connectedComponentsWithStats(picture, connectivity=8)
        labels[i, 0] = found
        areas[i, 0] = np.where(found > 0, facts[found, cv2.CC_STAT_AREA], 0)
    return torch.from_numpy(labels), torch.from_numpy(areas)


def load_official(sam2_dir, wan_dir):
    sys.path[:0] = [str(sam2_dir), str(Path(wan_dir) / "wan/modules/animate/preprocess")]
    import sam2.utils.misc
    import video_predictor
    sam2.utils.misc.get_connected_components = connected_parts
    return video_predictor.SAM2VideoPredictor


def build(predictor, image_size=IMAGE_SIZE, dim=DIM, memory_dim=MEMORY_DIM, memories=MEMORIES, pointers=POINTERS,
          windows=WINDOWS, global_blocks=GLOBAL_BLOCKS, stages=STAGES, channels=CHANNELS, heads=HEADS, hidden=96, layers=2):
    """As sam2_hiera_l.yaml and the official overrides have it, but for sizes."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    widths = [channels * 2**i for i in reversed(range(4))]
    trunk = Hiera(embed_dim=channels, num_heads=heads, stages=stages, global_att_blocks=global_blocks,
                  window_pos_embed_bkg_spatial_size=(7, 7), window_spec=windows)
    neck = FpnNeck(PositionEmbeddingSine(dim), dim, widths, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    attention = dict(rope_theta=10000.0, feat_sizes=[32, 32], embedding_dim=dim, num_heads=1, downsample_rate=1, dropout=0.1)
    layer = MemoryAttentionLayer("relu", RoPEAttention(rope_k_repeat=True, kv_in_dim=memory_dim, **attention), dim, hidden,
                                 0.1, False, True, False, RoPEAttention(**attention))
    fuser = Fuser(CXBlock(dim, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True), 2)
    memory_encoder = MemoryEncoder(memory_dim, MaskDownSampler(dim, kernel_size=3, stride=2, padding=1), fuser,
                                   PositionEmbeddingSine(memory_dim), in_dim=dim)
    return predictor(
        image_encoder=ImageEncoder(trunk, neck, scalp=1), memory_attention=MemoryAttention(dim, True, layer, layers),
        memory_encoder=memory_encoder, num_maskmem=memories, image_size=image_size, sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0, use_mask_input_as_output_without_sam=True, directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True, multimask_output_in_sam=True, iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=False, only_obj_ptrs_in_the_past_for_eval=True,
        max_obj_ptrs_in_encoder=pointers, pred_obj_scores=True, pred_obj_scores_mlp=True, fixed_no_obj_ptr=True,
        multimask_output_for_tracking=True, use_multimask_token_for_obj_ptr=True, multimask_min_pt_num=0,
        multimask_max_pt_num=1, use_mlp_for_obj_ptr_proj=True, binarize_mask_from_pts_for_mem_enc=True, fill_hole_area=8,
        sam_mask_decoder_extra_args=dict(dynamic_multimask_via_stability=True, dynamic_multimask_stability_delta=0.05,
                                         dynamic_multimask_stability_thresh=0.98)).eval()


def listen(model, calls):
    """calls[name]: outputs in order, rows of tokens."""
    keep = lambda name, value: calls.setdefault(name, []).append(value.detach().float().contiguous().clone())
    rows = lambda value: value[0].flatten(1).T
    hook = lambda module, function: module.register_forward_hook(lambda _module, _inputs, output: function(output))
    for i, block in enumerate(model.image_encoder.trunk.blocks):
        hook(block, lambda output, i=i: keep(f"image_encoder.trunk.blocks.{i}", output[0]))
    hook(model.image_encoder, lambda output: keep("image_encoder.coarse", rows(output["vision_features"])))
    hook(model.sam_mask_decoder.conv_s0, lambda output: keep("image_encoder.fine", rows(output)))
    hook(model.sam_mask_decoder.conv_s1, lambda output: keep("image_encoder.half", rows(output)))
    for i, layer in enumerate(model.sam_mask_decoder.transformer.layers):
        hook(layer, lambda output, i=i: keep(f"sam_mask_decoder.transformer.layers.{i}", output[0][0]))
    hook(model.memory_encoder, lambda output: keep("memory_encoder", rows(output["vision_features"])))
    hook(model.memory_attention, lambda output: keep("memory_attention", output[:, 0]))
    hook(model.sam_mask_decoder.iou_prediction_head, lambda output: keep("sam_mask_decoder.quality", torch.logit(output.double())))
    hook(model.sam_mask_decoder.pred_obj_score_head, lambda output: keep("sam_mask_decoder.presence", output))
    predict, heads = model.sam_mask_decoder.predict_masks, model._forward_sam_heads

    def predict_masks(**inputs):
        outputs = predict(**inputs)
        keep("sam_mask_decoder.masks", outputs[0][0].flatten(1))
        return outputs

    def forward_heads(**inputs):
        outputs = heads(**inputs)
        keep("obj_ptr", outputs[5])
        return outputs

    model.sam_mask_decoder.predict_masks, model._forward_sam_heads = predict_masks, forward_heads


def track(model, frames, points):
    """Every frame's logits at the video's size, as ProcessPipeline.get_mask() asks for them."""
    with on_cpu():
        state = model.init_state_v2(frames=frames, offload_video_to_cpu=True)
        state["device"] = state["storage_device"] = torch.device("cpu")
        model.reset_state(state)
        for index, place in points.items():
            model.add_new_points(inference_state=state, frame_idx=index, obj_id=1, points=np.array(place, np.float32),
                                 labels=np.ones(len(place), np.int32))
        return [logits[0, 0] for _, _, logits in model.propagate_in_video(state)]


def save(path, model, frames, points, only=""):
    calls = {}
    listen(model, calls)
    logits = torch.stack(track(model, [frame(i) for i in range(frames)], points))
    arrays = {f"points.{index}": torch.tensor(place, dtype=torch.float32) for index, place in points.items()}
    arrays["settings"] = torch.tensor([IMAGE_SIZE, HEADS, 8, 1, POINTERS, 8, frames])
    arrays["size"] = torch.tensor(SIZE)
    for name, outputs in calls.items():
        if not name.startswith(only):
            continue
        # The official code encodes key frames' pictures again for their memories.
        kept = outputs[:1] if "trunk" in name else outputs[:2] if name.startswith("image_encoder") else outputs
        arrays.update({f"tap.{name}.{i}": output for i, output in enumerate(kept)})
    bits = lambda value: torch.from_numpy(np.packbits(value.flatten(1).numpy(), axis=1))
    arrays["masks"], arrays["unsure"] = bits(logits > 0), bits(logits.abs() < UNSURE)
    thin.save(path, arrays, lambda name: name.startswith("tap."))
    shares = ", ".join(f"{share:.2f}" for share in (logits > 0).float().mean((1, 2)).tolist())
    holes = [int(((output > 0).float().mean()) * 100) for output in calls["sam_mask_decoder.masks"]]
    print(f"{path.name}: object's share {shares}; masks above 0 in % {holes}; presence "
          + ", ".join(f"{output.item():.1f}" for output in calls["sam_mask_decoder.presence"]))


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam2_dir", type=Path, required=True)
    parser.add_argument("--wan_dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/sam2"))
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    predictor = load_official(args.sam2_dir, args.wan_dir)
    model = build(predictor)
    lines, state = [], {}
    for name, value in sorted(model.state_dict().items()):
        offset, scale = rule_of(name, value.shape)
        lines.append(f"{name} {offset!r} {scale!r} {' '.join(map(str, value.shape))}\n")
        state[name] = torch.from_numpy(rule_values(name, offset, scale, value.numel())).reshape(value.shape)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "weights.txt").write_text("".join(lines))
    model.load_state_dict(state)
    save(args.out / "tracked.safetensors", model, 9, POINTS)
    model = build(predictor)
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] -= 40
    model.load_state_dict(state)
    save(args.out / "absent.safetensors", model, 4, {0: POINTS[0]}, ("memory", "obj_ptr", "sam_mask_decoder.presence"))


if __name__ == "__main__":
    main()
