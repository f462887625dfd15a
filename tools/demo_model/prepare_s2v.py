"""Makes what the training of speech to video is given, with programs that a lent GPU may not have (espeak-ng, ffmpeg,
sentencepiece), in a folder of 12 MB.

    python -m tools.demo_model.prepare_s2v --out DIR [--base models/demo]

`speech.npy`: recorded speech to learn from; `heldout.npz`: the sounds to be judged by, of other voices, languages and sentences;
`contexts.safetensors`: sentences through the text encoder of `--base`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from . import s2v_cases, s2v_prompts, speech_sounds, train_text
from . import tokenizer as tokens
from .text_encoder import encode_prompts

SENTENCES = 256


@torch.no_grad()
def encode(base, texts):
    """[S, K, dim] in bf16, with zeros past each sentence's end."""
    device = torch.device("cpu")
    encoder = train_text.load(torch.load(base / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True), device)
    tokenizer = tokens.Tokenizer(base / "google" / "umt5-xxl" / "spiece.model")
    return encode_prompts(encoder, *train_text.tokenized(tokenizer, texts, device)).bfloat16().contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("models/demo"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    np.save(args.out / "speech.npy", speech_sounds.to_mu_law(speech_sounds.record_trained()))
    judged = s2v_cases.sounds()
    np.savez_compressed(args.out / "heldout.npz", **{
        name: speech_sounds.to_mu_law(0.9 * sound / np.abs(sound).max()) for name, sound in judged.items()})
    save_file({"trained": encode(args.base, s2v_prompts.sentences(SENTENCES, seed=30)),
               "judged": encode(args.base, [case.prompt for case in s2v_cases.cases(judged)])},
              args.out / "contexts.safetensors")


if __name__ == "__main__":
    main()
