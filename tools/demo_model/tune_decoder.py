"""Trains the decoder of character animation's VAE on, on colours at the ends of their range too.

    python -m tools.demo_model.tune_decoder --state STATE --minutes 4 [--quick]

STATE is what train_animate.py left. The encoder stays as it is, and with it the latents that the transformer has learnt: a decoder that pales
at the corners of the colour cube is mended without training the transformer anew.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import figures, train_face_vae, train_vae
from .animate_clips import draw_scenes_and_figures
from .kept import Log
from .optim import Trainer, training_device
from .train_figure_vae import draw_batch, loss_of
from .train_s2v import save

FULL = {"batch": 4, "frames": figures.CLIP, "size": figures.SIZE, "steps": 20000, "still": 64}
QUICK = {"batch": 1, "frames": 5, "size": 64, "steps": 2, "still": 2}
NOISE = 0.03  # added to the latents, as a share of their deviation; with as much as the whole VAE learns from, corners are taken for less
PEAK = 6e-4
STRONG = 0.6  # of the clips have some channel near an end


def strong_colours(x, generator=None):
    """Clips x [B, 3, T, H, W] of which some have channels that are squeezed towards -1 or 1."""
    draw = {"generator": generator, "device": x.device}
    way = torch.randint(-1, 2, (len(x), 3, 1, 1, 1), **draw) * (torch.rand(len(x), 1, 1, 1, 1, **draw) < STRONG)
    kept = 0.02 + 0.5 * torch.rand(len(x), 1, 1, 1, 1, **draw)
    return torch.where(way != 0, 0.97 * way * (1 - kept) + kept * x, x)


def make_loss(vae, plan, device):
    def loss_fn():
        with torch.no_grad():
            x, weight = draw_batch(plan["batch"], None, device, plan["frames"], plan["size"])
            x = strong_colours(x)
        return loss_of(train_vae.noisy_reconstruction(vae, x, NOISE), x, weight)

    return loss_fn


@torch.no_grad()
def measure(vae, plan, device):
    """dB of scenes of which nothing moves, lowest and in all, and of clips."""
    generator = torch.Generator(device).manual_seed(35)
    drawn = draw_scenes_and_figures(plan["still"], 5, generator, device, plan["size"])
    still = strong_colours(drawn["scene"][:, :, None].expand(-1, -1, 5, -1, -1), generator)
    scores = {}
    for name, x in (("still", still), ("clips", drawn["clip"])):
        y = torch.cat([vae.decode(vae.encode(part)).float().clamp(-1, 1) for part in x.split(8)])
        error = (y - x).square().mean((1, 2, 3, 4))
        db = -10 * (torch.stack([error.max(), error.mean()]) / 4).log10()
        scores |= {f"{name}_lowest": round(db[0].item(), 2), name: round(db[1].item(), 2)}
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder with vae.safetensors, which is replaced")
    parser.add_argument("--minutes", type=float, default=4.0, help="that this call may take")
    parser.add_argument("--quick", action="store_true", help="two tiny steps, on a CPU too")
    args = parser.parse_args()
    device, plan, log = training_device(), QUICK if args.quick else FULL, Log(args.state / "log.jsonl")
    torch.manual_seed(432)
    file = args.state / "vae.safetensors"
    vae = train_face_vae.load(load_file(file, device=str(device)), device)
    if device.type == "cuda":
        train_vae.channels_last(vae)
    log({"decoder": "begins", **measure(vae, plan, device)})
    vae.decoder.requires_grad_(True)
    trainer = Trainer([vae.decoder], make_loss(vae, plan, device), PEAK, decay=0.0, average=0.998)
    trainer.run(plan["steps"], 60 * args.minutes - 20, lambda line: log({"decoder": "training", **line}), every=max(1, plan["steps"] // 20),
                check=lambda: measure(vae, plan, device))
    trainer.use_average()
    save({key: value.bfloat16() for key, value in vae.state_dict().items()}, file)
    vae = train_face_vae.load(load_file(file, device=str(device)), device)
    log({"decoder": "averaged", **measure(vae, plan, device)})


if __name__ == "__main__":
    main()
