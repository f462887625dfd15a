"""Make the golden files of whole generations: tests/golden/pipeline.

    python tools/golden/make_pipeline.py --wan_dir Wan2.2 --out tests/golden/pipeline

checkpoint/        a random checkpoint directory in the layout of Wan2.2-T2V-A14B, small enough to commit: both experts, text
                   encoder, VAE, tokenizer; without generation_config.json, as the official ones
checkpoint_i2v/    the same of Wan2.2-I2V-A14B
checkpoint_ti2v/   the same of Wan2.2-TI2V-5B: one transformer, at the top, and the other VAE
NAME.png           images, RGB of 8 bits
CASE.json          the request ("task" is t2v-A14B, "checkpoint" checkpoint and "image" none where they are left out), and
                   as results "experts", which transformer ran each step, and "output_size", where an image gave it
CASE.safetensors   every file of a dump (generation.py), under its name without .npy, large ones thinned out (thin.py)

The official pipeline runs on the CPU in fp32 (official.py). Versions: requirements.txt beside this file.
"""

import argparse
import io
import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from PIL import Image, ImageOps

import generation
import random_weights
import thin
from official import load_official
from pipeline_cases import CASES, CHECKPOINTS, IMAGES, TEXT_ENCODER

VOCABULARY = 160
WORDS = ("a", "red", "green", "blue", "circle", "square", "moves", "right", "left", "over", "the", "sea", "two", "cats",
         "dance", "slowly", "in", "rain", "blurry", "low", "quality")

WHOLE = ("tokens", "mask", "timesteps")  # of a prompt few values are not padding


def write_tokenizer(folder):
    """A SentencePiece model of WORDS without normalisation rules, and its tokenizer.json, as AutoTokenizer reads them."""
    from transformers import T5TokenizerFast
    rng = random.Random(0)
    corpus = [" ".join(rng.choices(WORDS, k=6)) for _ in range(2000)]
    folder.mkdir(parents=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, vocab_size=VOCABULARY, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, character_coverage=1.0, num_threads=1, minloglevel=2, normalization_rule_name="identity",
        hard_vocab_limit=False)
    (folder / "spiece.model").write_bytes(model.getvalue())
    T5TokenizerFast(vocab_file=str(folder / "spiece.model"), extra_ids=0, add_prefix_space=True).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("add_prefix_space", None)  # tokenizer.json holds it; named here, it asks for a conversion at every load
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")).vocab_size()


def write_checkpoint(official, task, checkpoint, folder):
    config = task.config
    vocabulary = write_tokenizer(folder / config.t5_tokenizer)
    for name, seed in checkpoint.transformer_seeds.items():
        state = random_weights.transformer_state(official.model.WanModel, checkpoint.transformer, seed,
                                                 checkpoint.model_type)
        random_weights.scale(state, checkpoint.transformer_gains)
        random_weights.write_transformer(folder / name, checkpoint.transformer, state, torch.bfloat16,
                                         model_type=checkpoint.model_type)
    vae_class, z_dim = ((official.vae22.WanVAE_, 48) if "dec_dim" in checkpoint.vae else (official.vae21.WanVAE_, 16))
    vae = random_weights.vae_state(vae_class, dict(checkpoint.vae, z_dim=z_dim), checkpoint.vae_seed)
    random_weights.scale(vae, checkpoint.vae_gains)
    random_weights.write_pth(folder / config.vae_checkpoint, vae, torch.bfloat16)
    if checkpoint is not CHECKPOINTS["t2v-A14B"]:  # one text encoder for all
        (folder / config.t5_checkpoint).symlink_to(Path("..") / CHECKPOINTS["t2v-A14B"].folder / config.t5_checkpoint)
        return
    text = random_weights.text_encoder_state(official.t5.T5Encoder, dict(vocab=vocabulary, **TEXT_ENCODER),
                                             checkpoint.text_seed)
    random_weights.write_pth(folder / config.t5_checkpoint, text, torch.bfloat16)


def draw_image(width, height, seed):
    """A waved colour gradient with three discs on it, without anti-aliasing: smooth parts and sharp edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j][..., None]
    turns, phases = rng.uniform(0.3, 1.6, (2, 3)), rng.uniform(0, 2 * np.pi, 3)
    picture = 0.5 + 0.5 * np.sin(2 * np.pi * (turns[0] * x + turns[1] * y) + phases)
    for _ in range(3):
        (cx, cy), radius, colour = rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.3), rng.uniform(0, 1, 3)
        inside = np.hypot((x - cx) * width, (y - cy) * height) < radius * min(width, height)
        picture = np.where(inside, colour, picture)
    return Image.fromarray(np.round(picture * 255).astype(np.uint8))


def record(official, checkpoint, settings, out, image=None):
    """The recording of a case, or of the case with another image."""
    task = official.tasks[settings.get("task", "t2v-A14B")]
    named = {key: value for key, value in settings.items() if key not in ("task", "image")}
    image = image or ("image" in settings and out / settings["image"]) or None
    request = generation.resolve_request(task, out / checkpoint.folder, image=image, **named)
    recording = generation.Recording(official, generation.load_pipeline(task, out / checkpoint.folder, request.boundary),
                                     request)
    recording.run()
    return recording


def effect_of_image(official, checkpoint, settings, out, recording):
    """Prints how much the results change, relatively, with the negative of the image."""
    with tempfile.TemporaryDirectory() as folder:
        negative = Path(folder) / "negative.png"
        ImageOps.invert(Image.open(out / settings["image"])).save(negative)
        other = record(official, checkpoint, settings, out, negative).arrays

    def change(name):
        """Of each frame of an array [C, F, h, w]."""
        a, b = recording.arrays[name], other[name]
        return np.sqrt(((b - a) ** 2).mean((0, 2, 3)) / (a ** 2).mean((0, 2, 3)))

    print("  changed by the image's negative: latent frames", ", ".join(f"{value:.0%}" for value in change("latents")),
          "and frames", ", ".join(f"{value:.0%}" for value in change("frames_float")))


def make_case(official, out, name, settings):
    checkpoint = CHECKPOINTS[settings.get("task", "t2v-A14B")]
    recording = record(official, checkpoint, settings, out)
    arrays = recording.arrays
    thin.save(out / f"{name}.safetensors", arrays, lambda key: not key.startswith(WHOLE))
    case = {**settings, "boundary": recording.request.boundary, "experts": recording.experts}
    if "task" in settings:
        height, width = arrays["frames"].shape[1:3]
        case.update(checkpoint=checkpoint.folder, output_size=f"{width}*{height}")
    (out / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")
    frames = arrays["frames_float"]
    print(f"{name}: {frames.shape[2]}x{frames.shape[3]}, frames_float deviation {frames.std():.3f}, "
          f"clamped {(abs(frames) == 1).mean():.1%}, latents deviation {arrays['latents'].std():.3f}, "
          f"experts {recording.experts}")
    if "image" in settings:
        print(f"  image deviation {arrays['image'].std():.3f}, condition deviation {arrays['condition'][-16:].std():.3f}")
        effect_of_image(official, checkpoint, settings, out, recording)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/pipeline"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    official = load_official(args.wan_dir)
    shutil.rmtree(args.out, ignore_errors=True)
    for name, checkpoint in CHECKPOINTS.items():
        write_checkpoint(official, official.tasks[name], checkpoint, args.out / checkpoint.folder)
    for name, image in IMAGES.items():
        draw_image(*image).save(args.out / f"{name}.png", optimize=True)
    for name, settings in CASES.items():
        make_case(official, args.out, name, settings)
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
