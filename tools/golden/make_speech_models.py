"""Make the golden files of speech to video's transformer: tests/golden/models/s2v.

    python tools/golden/make_speech_models.py --wan_dir Wan2.2 --checkpoint tests/golden/speech/checkpoint \\
        --out tests/golden/models/s2v

What the official code, on the CPU in fp32 (official.py), makes of random inputs with the transformer of make_speech.py's
checkpoint. Versions: requirements.txt beside this file.

NAME.safetensors
  latent [16, F, h, w], timestep [1] int64, context [n, text_dim], audio [25, audio_dim, 4 F], reference [16, 1, h, w]: inputs
  motion [16, 19, h, w] bf16: absent where the clip is the first; pose [16, F, h, w]: absent where there is none
  heard [1] int64: 0 where the features of the sound are multiplied by 0 (the unconditional branch)
  output [16, F, h, w]: the velocity; large outputs and taps are thinned out (thin.py)
  tap.PATH: outputs of layers (taps.py); tap.patch_embedding is all that block 0 gets [tokens, dim], tap.audio_tokens
    [F, 5, dim], tap.audio_global [F, dim] and tap.motion_tokens are without what stands for the frames before the clip
injector.safetensors   the injector of block 0 alone, on values so small that the addends of its norms count
  x [F n, dim], tokens [F, 5, dim], global [F, dim]: inputs; normed [F n, dim]: the adaptive norm's; added [F n, dim]
"""

import argparse
import os
import re
import shutil
from pathlib import Path

import torch

from make_models import save_golden
from official import load_speech_model
from taps import SPEECH_LAYERS, Taps, speech_values

MOTION_FRAMES, MOTION_LATENTS = 73, 19
OUTPUT = re.compile("head")

# Latent frames, height, width, timestep, text tokens, motion, pose, heard, layers kept.
FORWARDS = {
    "first": (2, 8, 8, 999, 7, False, True, True, SPEECH_LAYERS),
    "first_unheard": (1, 8, 8, 999, 3, False, False, False, SPEECH_LAYERS),
    "later": (1, 8, 8, 500, 11, True, True, True, SPEECH_LAYERS),
    "later_unheard": (1, 8, 8, 0, 4, True, True, False, OUTPUT),
    "sampled": (3, 8, 24, 731, 5, True, False, True, OUTPUT),
}


def make_forward(model, config, settings, generator):
    frames, height, width, timestep, tokens, motion, pose, heard, layers = settings
    draw = lambda *shape: torch.randn(shape, generator=generator)
    inputs = {"latent": draw(16, frames, height, width), "timestep": torch.tensor([timestep]),
              "context": draw(tokens, config["text_dim"]), "audio": draw(25, config["audio_dim"], 4 * frames),
              "reference": draw(16, 1, height, width), "heard": torch.tensor([int(heard)])}
    if motion:
        inputs["motion"] = draw(16, MOTION_LATENTS, height, width).bfloat16()
    if pose:
        inputs["pose"] = draw(config["cond_dim"], frames, height, width)
    taps = Taps()
    taps.listen("", model, layers, speech_values)
    more = {}
    hooks = [
        model.blocks[0].register_forward_pre_hook(lambda _, args: more.update({"tap.patch_embedding": args[0][0].clone()})),
        model.casual_audio_encoder.register_forward_hook(lambda _, args, output: more.update(
            {"tap.audio_global": output[0][0, MOTION_LATENTS:, 0], "tap.audio_tokens": output[1][0, MOTION_LATENTS:]})),
        model.frame_packer.register_forward_hook(
            lambda _, args, output: more.update({"tap.motion_tokens": output[0][0][0]} if motion else {}))]
    output = model([inputs["latent"]], t=inputs["timestep"].float(), context=[inputs["context"]], seq_len=0,
                   ref_latents=[inputs["reference"]],
                   motion_latents=[inputs.get("motion", torch.zeros(16, MOTION_LATENTS, height, width)).float()],
                   cond_states=[inputs.get("pose", torch.zeros(config["cond_dim"], frames, height, width))],
                   audio_input=inputs["audio"][None] * (1.0 if heard else 0.0),
                   motion_frames=[MOTION_FRAMES, MOTION_LATENTS], drop_motion_frames=not motion)[0]
    taps.close()
    for hook in hooks:
        hook.remove()
    if layers is OUTPUT:
        more = {}
    return {**inputs, **more, "output": output}, taps


def make_injector(model, path, generator):
    frames, tokens, dim = 2, 6, model.dim
    injector = model.audio_injector
    x = torch.randn(frames, tokens, dim, generator=generator) * 3e-3
    local = torch.randn(frames, 5, dim, generator=generator) * 3e-3
    whole = torch.randn(frames, dim, generator=generator)
    normed = injector.injector_adain_layers[0](x, temb=whole)
    added = injector.injector[0](x=normed, context=local, context_lens=torch.full((frames,), 5))
    save_golden(path, {"x": x.flatten(0, 1), "tokens": local, "global": whole, "normed": normed.flatten(0, 1),
                       "added": added.flatten(0, 1)})


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--checkpoint", type=Path, default=Path("tests/golden/speech/checkpoint"))
    parser.add_argument("--out", type=Path, default=Path("tests/golden/models/s2v"))
    args = parser.parse_args()
    if not args.wan_dir:
        parser.error("name the official repository by --wan_dir or WAN_REFERENCE_DIR")
    torch.set_num_threads(1)  # sums are split by thread: one thread gives the same bytes on every run
    model = load_speech_model(args.wan_dir).WanModel_S2V.from_pretrained(args.checkpoint).eval()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1083)
    config = {"text_dim": model.text_dim, "audio_dim": model.config["audio_dim"], "cond_dim": model.config["cond_dim"]}
    for name, settings in FORWARDS.items():
        save_golden(args.out / f"{name}.safetensors", *make_forward(model, config, settings, generator))
    make_injector(model, args.out / "injector.safetensors", generator)
    total = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
