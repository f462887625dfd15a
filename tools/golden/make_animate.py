"""Make the golden files of whole generations of character animation: tests/golden/animate.

    python tools/golden/make_animate.py --wan_dir Wan2.2 --out tests/golden/animate

checkpoint/        a random checkpoint directory (animate_checkpoint.py)
moves/, scene/     what preprocessing leaves, without losses at 24 frames a second; scene/ is for a replacement too
CASE.json          the request ("src_root_path": a folder beside it), and as a result "clips"
CASE.safetensors   what the official pipeline, on the CPU in fp32 (official.py), computed, large arrays thinned out (thin.py):
  context_prompt, context_negative [n, text_dim]; image_pixels [3, 224, 224]; image_embedding [257, C]; ref_image [H, W, 3], pose_frames,
  face_frames [F, H, W, 3] uint8;
  ref_latents [16, 1, h, w]; frames [F, H, W, 3] uint8; frames_float [3, F, H, W]; and of each clip, clip_RR_NAME:
  noise [16, F, h, w]; pose_latents, given_latents, decode_latents [16, F - 1, h, w]; condition [20, F, h, w]; face_motion [frames, motion_dim],
  face_tokens [F, tokens, dim] of the branch that has the faces; step_NN_cond, step_NN_uncond, step_NN_latent; decoded [3, T, H, W]

Nothing is rounded to bf16. Versions: requirements.txt beside this file.
"""

import argparse
import copy
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import imageio_ffmpeg
import numpy as np
import torch

import thin
from animate_checkpoint import LORA_RANK, SIZES, write_checkpoint
from generation import CallRecorder, ClipRecording, frames_to_bytes
from make_pipeline import draw_image
from official import load_animate_task, load_official

WIDTH = HEIGHT = 32
FACE = 4 << (len(SIZES["face_channels"]) - 1)
SOURCES = {"moves": dict(frames=20, picture=(50, 30, 97), replaces=False),
           "scene": dict(frames=12, picture=(26, 40, 98), replaces=True)}

COMMON = dict(frame_num=9, sample_shift=5.0, sample_steps=2, negative_prompt="blurry, low quality", use_relighting_lora=False)
CASES = {
    # Three clips, each with the last frame of the one before; the third one goes back over the source's end.
    "moves_1": dict(COMMON, src_root_path="moves", prompt="a red figure dances", replace_flag=False, refert_num=1,
                    sample_solver="unipc", sample_guide_scale=1.0, base_seed=97),
    "scene_5": dict(COMMON, src_root_path="scene", prompt="", replace_flag=False, refert_num=5, sample_solver="dpm++",
                    sample_guide_scale=1.0, base_seed=98),
    # Faces that guidance leads away from.
    "replaced_5": dict(COMMON, src_root_path="scene", prompt="a cat walks", replace_flag=True, refert_num=5,
                       sample_solver="dpm++", sample_guide_scale=2.0, base_seed=99),
    "relit_1": dict(COMMON, src_root_path="scene", prompt="a cat walks", replace_flag=True, refert_num=1,
                    sample_solver="unipc", sample_guide_scale=1.0, base_seed=100, use_relighting_lora=True),
}


def write_video(path, frames):
    """PNG in MOV under the name that preprocessing gives its MP4 files, so that every decoder gives the same pixels."""
    height, width = frames[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=24, codec="png", pix_fmt_in="rgb24",
                                         pix_fmt_out="rgb24", macro_block_size=1,
                                         output_params=["-fflags", "+bitexact", "-flags", "+bitexact", "-f", "mov"])
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def stick(size, angle, colour):
    y, x = np.mgrid[0:size, 0:size] - size / 2 + 0.5
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    return np.where(((abs(across) < 2) & (abs(along) < 0.4 * size))[..., None], np.array(colour, np.uint8), 0).astype(np.uint8)


def write_source(folder, frames, picture, replaces):
    folder.mkdir(parents=True)
    draw_image(*picture).save(folder / "src_ref.png", optimize=True)
    times = range(frames)
    write_video(folder / "src_pose.mp4", [stick(WIDTH, 0.3 * t, (255, 30 + 9 * t, 200 - 7 * t)) for t in times])
    # Each face differs from the others, and is not grey: an order of frames or of channels that is wrong changes it.
    write_video(folder / "src_face.mp4", [stick(FACE, 1 - 0.4 * t, (90 + 7 * t, 200, 250 - 11 * t)) for t in times])
    if not replaces:
        return
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    scene = [np.stack([4 * x + 5 * t, 200 - 3 * y, 60 + 2 * (x + y)], axis=2).astype(np.uint8) for t in times]
    # Edges are between those of latents, and soft.
    masks = [np.where((abs(x - 12 - t) < 7) & (abs(y - 17) < 11), 255, np.where(abs(y - 30) < 1, 100, 0)) for t in times]
    masks = [np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) for mask in masks]
    for mask in masks:
        mask[..., 1] //= 2  # red alone counts
    write_video(folder / "src_bg.mp4", [np.where(mask[..., :1] > 200, 0, image) for mask, image in zip(masks, scene)])
    write_video(folder / "src_mask.mp4", masks)


class Recording(ClipRecording):
    """arrays: of everything in CASE.safetensors, whole."""

    def __init__(self, official, task, folder, settings):
        super().__init__()
        self.official, self.task, self.settings, self.folder = official, task, settings, folder
        config = copy.deepcopy(task.config)
        config.update(t5_dtype=torch.float32, param_dtype=torch.float32)
        lora_config = task.module.get_loraconfig
        with mock.patch.object(task.module, "get_loraconfig", lambda transformer, **_: lora_config(
                transformer, rank=LORA_RANK, alpha=LORA_RANK)):
            self.pipeline = task.pipeline(config, str(folder / "checkpoint"), init_on_cpu=True,
                                          use_relighting_lora=settings["use_relighting_lora"])

    def run(self):
        pipe, module, settings = self.pipeline, self.task.module, self.settings
        model = pipe.noise_model
        hooks = [model.register_forward_pre_hook(self.before_model, with_kwargs=True),
                 model.register_forward_hook(self.after_model),
                 model.face_encoder.register_forward_pre_hook(lambda _, args: self.keep_clip("face_motion", args[0][0])),
                 model.face_adapter.fuser_blocks[0].register_forward_pre_hook(
                     lambda _, args: self.keep_clip("face_tokens", args[1][0])),
                 pipe.clip.model.visual.register_forward_pre_hook(lambda _, args: self.keep("image_pixels", args[0][0]))]
        watch = lambda name: mock.patch.object(module, name, self.watched(getattr(module, name)))
        with (mock.patch.object(pipe, "text_encoder", CallRecorder(pipe.text_encoder, lambda _, result: self.keep(
                  f"context_{next(self.texts)}", result[0]))),
              mock.patch.object(pipe, "prepare_source", CallRecorder(pipe.prepare_source, self.after_source)),
              mock.patch.object(pipe.clip, "visual", CallRecorder(pipe.clip.visual, lambda _, result: self.keep(
                  "image_embedding", result[0]))),
              mock.patch.object(pipe.vae, "encode", CallRecorder(pipe.vae.encode, self.after_encode)),
              mock.patch.object(pipe.vae, "decode", CallRecorder(pipe.vae.decode, self.after_decode)),
              mock.patch.object(module.torch, "randn", CallRecorder(module.torch.randn, self.after_noise)),
              watch("FlowUniPCMultistepScheduler"), watch("FlowDPMSolverMultistepScheduler")):
            video = pipe.generate(
                src_root_path=str(self.folder / settings["src_root_path"]), replace_flag=settings["replace_flag"],
                clip_len=settings["frame_num"], refert_num=settings["refert_num"], shift=settings["sample_shift"],
                sample_solver=settings["sample_solver"], sampling_steps=settings["sample_steps"],
                guide_scale=settings["sample_guide_scale"], input_prompt=settings["prompt"],
                n_prompt=settings["negative_prompt"], seed=settings["base_seed"], offload_model=False)
        for hook in hooks:
            hook.remove()
        self.keep("frames_float", video)
        self.keep("frames", frames_to_bytes(self.official, video, self.task.config.sample_fps))
        if settings["sample_guide_scale"] <= 1:
            del self.arrays["context_negative"]
        return self

    def after_source(self, _args, result):
        for name, images in zip(("pose_frames", "face_frames", "ref_image"), result):
            self.keep(name, images)

    def after_noise(self, args, result):
        self.encodes = []
        super().after_noise(args, result)

    def before_model(self, _module, args, kwargs):
        self.finish_step(args[0][0])
        self.keep_clip("condition", kwargs["y"][0])

    def after_encode(self, _args, result):
        """The VAE encodes a clip's poses, the picture and what is given."""
        names = ("pose_latents", None, "given_latents")
        name = names[len(self.encodes)]
        self.encodes.append(name)
        self.keep_clip(name, result[0]) if name else self.keep("ref_latents", result[0])

    def after_decode(self, args, result):
        self.unfinished = None
        self.keep_clip("decoded", result[0])
        self.keep_clip("decode_latents", args[0][0])  # without the picture's


def make_case(official, task, out, name, settings):
    recording = Recording(official, task, out, settings).run()
    arrays = recording.arrays
    thin.save(out / f"{name}.safetensors", arrays, lambda _: True)
    case = {"task": "animate-14B", "checkpoint": "checkpoint", **settings, "clips": recording.clip + 1}
    (out / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")
    frames = arrays["frames_float"]
    print(f"{name}: {frames.shape}, deviation {frames.std():.3f}, clamped {(abs(frames) == 1).mean():.1%}, clips "
          f"{recording.clip + 1}, latents deviation {arrays['clip_00_decode_latents'].std():.3f}, motion "
          f"{arrays['clip_00_face_motion'].std(0).mean():.3f}")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/animate"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    official = load_official(args.wan_dir)
    task = load_animate_task(args.wan_dir)
    shutil.rmtree(args.out, ignore_errors=True)
    write_checkpoint(task, args.out / "checkpoint")
    for name, source in SOURCES.items():
        write_source(args.out / name, **source)
    for name, settings in CASES.items():
        make_case(official, task, args.out, name, settings)
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
