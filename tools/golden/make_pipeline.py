"""Make the golden files of whole generations: tests/golden/pipeline.

    python tools/golden/make_pipeline.py --wan_dir Wan2.2 --out tests/golden/pipeline

checkpoint/        a random checkpoint directory in the layout of Wan2.2-T2V-A14B, small enough to commit: both experts, text
                   encoder, VAE, tokenizer; without generation_config.json, as the official ones
CASE.json          the request, and which expert ran each step
CASE.safetensors   every file of a dump (reference.py), under its name without .npy

The official pipeline runs on the CPU in fp32 (official.py). Versions: requirements.txt beside this file.
"""

import argparse
import io
import json
import os
import random
import shutil
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

import generation
import random_weights
from official import load_official

TRANSFORMER = dict(dim=48, ffn_dim=96, freq_dim=64, text_dim=32, in_dim=16, out_dim=16, num_heads=2, num_layers=2,
                   text_len=512)
TEXT_ENCODER = dict(dim=32, dim_attn=32, dim_ffn=48, num_heads=4, num_layers=2, num_buckets=32, shared_pos=False)
VAE_DIM = 4
VOCABULARY = 160
WORDS = ("a", "red", "green", "blue", "circle", "square", "moves", "right", "left", "over", "the", "sea", "two", "cats",
         "dance", "slowly", "in", "rain", "blurry", "low", "quality")

CASES = {
    # Three steps an expert, three latent frames, guidance of its own for each.
    "unipc": dict(prompt="a red circle moves right over the sea", negative_prompt="blurry, low quality", size="32*48",
                  frame_num=9, sample_solver="unipc", sample_steps=6, sample_shift=5.0, sample_guide_scale=[3.0, 4.0],
                  base_seed=42),
    # Two latent frames, the official shift, another boundary.
    "dpmpp": dict(prompt="two cats dance slowly in the rain", negative_prompt="", size="48*32", frame_num=5,
                  sample_solver="dpm++", sample_steps=5, sample_shift=12.0, sample_guide_scale=[2.5, 3.5], boundary=0.9,
                  base_seed=7),
    # One frame; the official negative prompt; the low-noise expert without guidance; a seed of more than 32 bits.
    "still": dict(prompt="blue square", negative_prompt=None, size="32*32", frame_num=1, sample_solver="unipc",
                  sample_steps=4, sample_shift=3.0, sample_guide_scale=[1.0, 3.0], base_seed=2**40 + 3),
}


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


def write_checkpoint(official, folder):
    config = official.tasks["t2v-A14B"].config
    vocabulary = write_tokenizer(folder / config.t5_tokenizer)
    for seed, name in ((21, config.high_noise_checkpoint), (22, config.low_noise_checkpoint)):
        state = random_weights.transformer_state(official.model.WanModel, TRANSFORMER, seed)
        random_weights.write_transformer(folder / name, TRANSFORMER, state, torch.bfloat16)
    text = random_weights.text_encoder_state(official.t5.T5Encoder, dict(vocab=vocabulary, **TEXT_ENCODER), 23)
    random_weights.write_pth(folder / config.t5_checkpoint, text, torch.bfloat16)
    vae = random_weights.vae_state(official.vae21.WanVAE_, VAE_DIM, 24)
    random_weights.write_pth(folder / config.vae_checkpoint, vae, torch.bfloat16)


def make_case(official, checkpoint, out, name, settings):
    task = official.tasks["t2v-A14B"]
    request = generation.resolve_request(task, checkpoint, **settings)
    pipeline = generation.load_pipeline(task, checkpoint, request.boundary)
    recording = generation.Recording(official, pipeline, request)
    recording.run()
    arrays = {key: torch.from_numpy(array) for key, array in recording.arrays.items()}
    save_file(arrays, out / f"{name}.safetensors")
    case = {**settings, "boundary": request.boundary, "experts": recording.experts}
    (out / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")
    frames = recording.arrays["frames_float"]
    print(f"{name}: frames_float deviation {frames.std():.3f}, clamped {(abs(frames) == 1).mean():.1%}, "
          f"latents deviation {recording.arrays['latents'].std():.3f}, experts {recording.experts}")


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
    write_checkpoint(official, args.out / "checkpoint")
    for name, settings in CASES.items():
        make_case(official, args.out / "checkpoint", args.out, name, settings)
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
