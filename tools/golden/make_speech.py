"""Make the golden files of whole generations of speech to video: tests/golden/speech.

    python tools/golden/make_speech.py --wan_dir Wan2.2 --out tests/golden/speech

checkpoint/        a random checkpoint directory in the layout of Wan2.2-S2V-14B, small enough to commit: transformer, text
                   encoder, VAE, tokenizer, audio encoder; those that I2V's of make_pipeline.py has are links to it
NAME.png, talk.wav, pose.mov    pictures, 16 kHz sound, poses at 24 frames a second without losses
CASE.json          the request ("image", "audio", "pose_video": file names), and as results "clips" and "output_size"
CASE.safetensors   what the official pipeline, on the CPU in fp32 (official.py), computed, large arrays thinned out (thin.py):
  context_prompt, context_negative [n, text_dim]; audio_features [25, frames at 30/s, C]; audio_embedding [25, C, video frames];
  ref_latents [16, 1, h, w]; frames [F, H, W, 3] uint8; frames_float [3, F, H, W]; and of each clip, clip_RR_NAME:
  noise, latents [16, F, h, w]; audio_input [25, C, frames]; audio_tokens [F, 5, dim], audio_global [F, dim] and motion_tokens
  [n, dim] of the branch that hears; motion_latents [16, 19, h, w], pose_latents [16, F, h, w]; step_NN_cond, step_NN_uncond,
  step_NN_latent; decoded [3, T, H, W]

Noise is rounded to bf16, as the official pipeline draws it; nothing else is. Versions: requirements.txt beside this file, and
librosa 0.11.0, soundfile 0.14.0.
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import imageio_ffmpeg
import numpy as np
import soundfile
import torch
from transformers import (Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC,
                          Wav2Vec2Processor)

import random_weights
import thin
from generation import CallRecorder, ClipRecording, frames_to_bytes
from make_pipeline import draw_image
from official import load_official, load_speech_task
from pipeline_cases import ATTENTION

MOTION_LATENTS = 19
AUDIO_DIM = 16
# 24 layers: the official causal audio encoder averages 25 hidden states. Each layer's kernels and widths are small.
AUDIO_ENCODER = dict(vocab_size=8, hidden_size=AUDIO_DIM, num_hidden_layers=24, num_attention_heads=2, intermediate_size=24,
                     conv_dim=[8] * 7, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
                     num_conv_pos_embeddings=128, num_conv_pos_embedding_groups=16)
TRANSFORMER = dict(dim=40, ffn_dim=64, freq_dim=64, text_dim=32, in_dim=16, out_dim=16, num_heads=5, num_layers=3,
                   text_len=512, cond_dim=16, audio_dim=AUDIO_DIM, num_audio_token=4, audio_inject_layers=[0, 2])
# The sound must matter beside the rest.
GAINS = {**ATTENTION, r"audio_injector\.injector\.\d+\.o\.weight": 2.0}

PICTURES = {"square": (64, 64, 81), "wide": (100, 64, 82)}  # width, height, seed
SECONDS = 1.3  # of sound: three clips of 8 frames at 16 a second
POSES = 40  # frames: every second one is taken, which ends in the third clip

COMMON = dict(audio="talk.wav", infer_frames=8, sample_shift=3.0)
CASES = {
    # Three clips, each with the frames of the one before.
    "unipc": dict(COMMON, image="square.png", prompt="a red circle moves over the sea", negative_prompt="blurry, low quality",
                  size="64*64", num_clip=None, sample_solver="unipc", sample_steps=3, sample_guide_scale=4.5,
                  start_from_ref=False, pose_video=None, base_seed=91),
    # A picture that is not as wide as the video, poses that end early, and the solver that begins at 1000.
    "posed": dict(COMMON, image="wide.png", prompt="two cats dance slowly", negative_prompt="", size="128*64", num_clip=None,
                  sample_solver="dpm++", sample_steps=3, sample_guide_scale=3.0, start_from_ref=False, pose_video="pose.mov",
                  base_seed=92),
    # History from the reference on; fewer clips than there is sound for.
    "from_ref": dict(COMMON, image="square.png", prompt="the sea in rain", negative_prompt="low quality", size="64*64",
                     num_clip=2, sample_solver="unipc", sample_steps=2, sample_guide_scale=4.5, start_from_ref=True,
                     pose_video=None, base_seed=93),
    # One guidance branch.
    "unguided": dict(COMMON, image="square.png", prompt="red square", negative_prompt="blurry", size="64*64", num_clip=1,
                     sample_solver="dpm++", sample_steps=3, sample_guide_scale=1.0, start_from_ref=False, pose_video="pose.mov",
                     base_seed=94),
}

def write_audio_encoder(folder, seed):
    folder.mkdir(parents=True)
    vocabulary = {word: index for index, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c"))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**AUDIO_ENCODER))
    model.load_state_dict(random_weights.fill(model.state_dict(), seed))
    model.bfloat16().save_pretrained(folder)


def write_checkpoint(model_class, task, folder):
    config = task.config
    folder.mkdir(parents=True)
    for name in ("google", config.t5_checkpoint, config.vae_checkpoint):
        (folder / name).symlink_to(Path("../../pipeline/checkpoint_i2v") / name)
    state = random_weights.scale(random_weights.speech_state(model_class, TRANSFORMER, 83), GAINS)
    random_weights.write_speech_transformer(folder, TRANSFORMER, state, torch.bfloat16)
    write_audio_encoder(folder / config.wav2vec, 86)


def write_sound(path):
    """Syllables of a gliding voice between pauses, 16 bits."""
    t = np.arange(int(SECONDS * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * k * (120 * t + 15 * np.sin(3 * t))) / k for k in range(1, 9))
    loudness = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.2, 0, 1) ** 2
    soundfile.write(path, 0.25 * loudness * voice, 16000, subtype="PCM_16")


def write_poses(path):
    """A bright stick that turns on black, 48x36; PNG in MOV, so that every decoder gives the same pixels."""
    y, x = np.mgrid[0:36, 0:48]
    writer = imageio_ffmpeg.write_frames(str(path), (48, 36), fps=24, codec="png", pix_fmt_in="rgb24", pix_fmt_out="rgb24",
                                         macro_block_size=1, output_params=["-fflags", "+bitexact", "-flags", "+bitexact"])
    writer.send(None)
    for frame in range(POSES):
        angle = frame / 9
        across = (x - 24) * np.sin(angle) - (y - 18) * np.cos(angle)
        along = (x - 24) * np.cos(angle) + (y - 18) * np.sin(angle)
        stick = (abs(across) < 2) & (abs(along) < 14)
        colour = np.array([255, 40 + 3 * frame, 220 - 3 * frame], np.uint8)
        writer.send(np.ascontiguousarray(np.where(stick[..., None], colour, 0).astype(np.uint8)))
    writer.close()


class Recording(ClipRecording):
    """arrays: of everything in CASE.safetensors, whole."""

    def __init__(self, official, task, folder, settings):
        super().__init__()
        self.official, self.task, self.settings, self.folder = official, task, settings, folder
        config = copy.deepcopy(task.config)
        config.update(t5_dtype=torch.float32, param_dtype=torch.float32)
        self.pipeline = task.pipeline(config, str(folder / "checkpoint"), init_on_cpu=False)
        self.encodes = []  # results of the VAE so far

    def run(self):
        pipe, module, settings = self.pipeline, self.task.module, self.settings
        hooks = [pipe.noise_model.register_forward_pre_hook(self.before_model, with_kwargs=True),
                 pipe.noise_model.register_forward_hook(self.after_model),
                 pipe.noise_model.casual_audio_encoder.register_forward_hook(self.after_audio),
                 pipe.noise_model.frame_packer.register_forward_hook(self.after_packer)]
        watch = lambda name: mock.patch.object(module, name, self.watched(getattr(module, name)))
        width, height = map(int, settings["size"].split("*"))
        file = lambda key: str(self.folder / settings[key]) if settings[key] else None
        with (mock.patch.object(pipe, "text_encoder", CallRecorder(pipe.text_encoder, lambda _, result: self.keep(
                  f"context_{next(self.texts)}", result[0]))),
              mock.patch.object(pipe, "encode_audio", CallRecorder(pipe.encode_audio, self.after_sound)),
              mock.patch.object(pipe.audio_encoder, "extract_audio_feat", CallRecorder(
                  pipe.audio_encoder.extract_audio_feat, lambda _, result: self.keep("audio_features", result))),
              mock.patch.object(pipe.vae, "encode", CallRecorder(pipe.vae.encode, self.after_encode)),
              mock.patch.object(pipe.vae, "decode", CallRecorder(pipe.vae.decode, self.after_decode)),
              mock.patch.object(module.torch, "randn", CallRecorder(module.torch.randn, self.after_noise)),
              watch("FlowUniPCMultistepScheduler"), watch("FlowDPMSolverMultistepScheduler")):
            # An empty negative prompt would become the official one.
            pipe.sample_neg_prompt = settings["negative_prompt"]
            video = pipe.generate(
                settings["prompt"], file("image"), file("audio"), False, None, None, None, num_repeat=settings["num_clip"],
                pose_video=file("pose_video"), max_area=width * height, infer_frames=settings["infer_frames"],
                shift=settings["sample_shift"], sample_solver=settings["sample_solver"],
                sampling_steps=settings["sample_steps"], guide_scale=settings["sample_guide_scale"],
                n_prompt=settings["negative_prompt"], seed=settings["base_seed"], offload_model=False,
                init_first_frame=settings["start_from_ref"])
        for hook in hooks:
            hook.remove()
        self.keep("frames_float", video)
        self.keep("frames", frames_to_bytes(self.official, video, self.task.config.sample_fps))
        self.name_encodes()
        return self

    def after_sound(self, _args, result):
        self.keep("audio_embedding", result[0][0])

    def before_model(self, _module, args, kwargs):
        self.finish_step(args[0][0])
        self.keep_clip("audio_input", kwargs["audio_input"][0])
        self.dropped = kwargs["drop_motion_frames"]

    def after_audio(self, _module, _args, result):
        self.keep_clip("audio_global", result[0][0, MOTION_LATENTS:, 0])
        self.keep_clip("audio_tokens", result[1][0, MOTION_LATENTS:])

    def after_packer(self, _module, _args, result):
        if not self.dropped:
            self.keep_clip("motion_tokens", result[0][0][0])

    def after_encode(self, _args, result):
        self.encodes.append(result[0])

    def after_decode(self, args, result):
        latent = args[0][0]
        own = self.arrays[f"clip_{self.clip:02d}_noise"].shape[1]
        self.finish_step(latent[:, -own:])
        self.keep_clip("latents", latent[:, -own:])
        self.keep_clip("decoded", result[0])

    def name_encodes(self):
        """The VAE encodes the reference, the history of the first clip, poses, and the frames of each clip for the next."""
        clips = self.clip + 1
        poses = len(self.encodes) - 2 - clips
        self.keep("ref_latents", self.encodes[0])
        history = [self.encodes[1], *self.encodes[2 + poses:]]
        for clip in range(clips):
            if clip > 0 or self.settings["start_from_ref"]:
                self.keep_clip("motion_latents", history[clip], clip)
            if self.settings["pose_video"]:
                self.keep_clip("pose_latents", self.encodes[2 + clip][:, 1:], clip)


def make_case(official, task, out, name, settings):
    recording = Recording(official, task, out, settings).run()
    arrays = recording.arrays
    thin.save(out / f"{name}.safetensors", arrays, lambda _: True)
    height, width = arrays["frames"].shape[1:3]
    case = {"task": "s2v-14B", "checkpoint": "checkpoint", **settings, "clips": recording.clip + 1,
            "output_size": f"{width}*{height}"}
    (out / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")
    frames = arrays["frames_float"]
    print(f"{name}: {frames.shape}, deviation {frames.std():.3f}, clamped {(abs(frames) == 1).mean():.1%}, clips "
          f"{recording.clip + 1}, latents deviation {arrays['clip_00_latents'].std():.3f}")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/speech"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    official = load_official(args.wan_dir)
    task = load_speech_task(args.wan_dir)
    shutil.rmtree(args.out, ignore_errors=True)
    write_checkpoint(task.module.WanModel_S2V, task, args.out / "checkpoint")
    for name, picture in PICTURES.items():
        draw_image(*picture).save(args.out / f"{name}.png", optimize=True)
    write_sound(args.out / "talk.wav")
    write_poses(args.out / "pose.mov")
    for name, settings in CASES.items():
        make_case(official, task, args.out, name, settings)
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
