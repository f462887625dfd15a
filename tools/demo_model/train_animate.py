"""Trains the character animation demo: its VAE and its transformer, within a given time.

    python -m tools.demo_model.prepare_animate --out CONTEXTS          once: sentences through the text encoder
    python -m tools.demo_model.train_animate --state STATE --contexts CONTEXTS --minutes 9 [--quick]

The VAE is skipped when its file is in STATE. The transformer then trains for the time that is left, one cosine of the learning rate a
call; each minute it is kept in files below 16 MiB, from which the next call goes on. At the end it shows held-out clips in PyTorch:
`sheet.png`, and how near they come to the drawn ones.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import animate_clips, animate_dit, figures, train_face_vae, train_figure_vae, train_vae
from .animate_sampler import show
from .clip_tower import load_tower, random_tower
from .kept import Kept, Log
from .optim import Trainer, training_device
from .train_dit import sigma_of
from .train_s2v import save

SHIFT = 5.0
FULL = {
    # Frames, clips a step, steps, most seconds, peak learning rate, whether the norm is compiled.
    "vae": {"phases": [(figures.CLIP, 4, 6000, 150, 1.5e-3, True)]},
    "clips": 6144, "renewed": 384, "batch": 64, "peak": 1.4e-3, "compiled": True, "size": figures.SIZE, "shown": 8,
}
QUICK = {
    "vae": {"phases": [(1, 4, 2, 60, 1e-3, False), (5, 4, 1, 60, 1e-3, False)], "measured": 4},
    "clips": 8, "renewed": 4, "batch": 4, "peak": 1e-3, "compiled": False, "size": 64, "shown": 4,
}
SHOW_SECONDS = 15
FACELESS = 0.1  # of the clips have a face that does nothing, for guidance
TOLD = 0.85  # of the clips come with a sentence
FIGURE_WEIGHT = 3.0  # that errors there count more
PICTURE_SHARE = 0.3  # that errors of the picture's own latent count


def make_loss(dit, data, table, batch):
    """Velocity matching. `data`: of animate_clips.encode; table [S, K, dim] of sentences, the first of them the empty one."""
    device = table.device

    def loss_fn():
        pick = torch.randint(len(data["target"]), (batch,), device=device)
        clean = data["target"][pick].float()
        noise = torch.randn_like(clean)
        # One draw in each of as many equal parts of the range as the step has clips.
        sigma = sigma_of((torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch, SHIFT)
        level = sigma.view(-1, 1, 1, 1, 1)
        sentence = torch.randint(len(table), (batch,), device=device) * (torch.rand(batch, device=device) < TOLD)
        faces = data["faces"][pick].float() / 127.5 - 1
        faces = torch.where(torch.rand(batch, 1, 1, 1, 1, device=device) < FACELESS, animate_clips.BLACK, faces)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            motion = dit.motion_encoder(faces.flatten(0, 1)).unflatten(0, (batch, -1))
            velocity = dit((1 - level) * clean + level * noise, 1000 * sigma, table[sentence].float(),
                           data["condition"][pick].float(), data["pose"][pick].float(), motion, data["image"][pick].float())
        error = (velocity.float() - (noise - clean)).square() * (1 + FIGURE_WEIGHT * data["weight"][pick].float())
        return (error[:, :, 1:].mean() + PICTURE_SHARE * error[:, :, :1].mean() / error.shape[2])

    return loss_fn


def renew(data, models, plan, number):
    """Puts newly drawn clips in the place of the oldest."""
    count = plan["renewed"]
    begin = number * count % (plan["clips"] - count + 1)
    for name, values in animate_clips.encode(*models, count, data["target"].device, seed=1000 + number, size=plan["size"]).items():
        data[name][begin:begin + count].copy_(values)


def averaged(dit, trainer):
    """The averaged weights of a transformer in training, as the checkpoint will hold them."""
    names = (name for name, parameter in dit.named_parameters() if parameter.requires_grad)
    return {key: value.detach().bfloat16() for key, value in {**dit.state_dict(), **dict(zip(names, trainer.averaged))}.items()}


def train_transformer(args, plan, vae, tower, table, log, stop_at, file):
    """Leaves the transformer in `file`, and what it has come to each minute."""
    device = table.device
    begun = time.time()
    if device.type == "cuda":
        train_vae.channels_last(vae)
    data = animate_clips.encode(vae, tower, plan["clips"], device, seed=414, size=plan["size"])
    log({"latents": list(data["target"].shape), "seconds": round(time.time() - begun, 1),
         "deviations": {name: round(data[name].float().std().item(), 3) for name in ("target", "condition", "pose", "image")}})
    torch.manual_seed(727)
    dit = animate_dit.AnimateDit(animate_dit.AnimateConfig()).to(device)
    if args.start:
        dit.load_state_dict(load_file(args.start, device=str(device)))
    if plan["compiled"] and device.type == "cuda":
        torch._dynamo.config.recompile_limit = 256
        for part in (*dit.blocks, *dit.face_adapter.fuser_blocks):
            part.compile(dynamic=False)
    trainer = Trainer([dit], make_loss(dit, data, table, plan["batch"]), args.peak or plan["peak"], decay=0.01, average=0.999)
    begun = time.time()
    trainer.prepare()
    kept = Kept(args.state, "animate_training")
    before = kept.load()
    if before:
        trainer.restore(before[0])
    spent = before[1] if before else 0.0
    seconds = max(5.0, stop_at - time.time() - SHOW_SECONDS)
    log({"animate": "ready", "ready_after": round(time.time() - begun, 1), "spent before": round(spent, 1), "seconds": round(seconds, 1),
         "parameters": sum(p.numel() for p in dit.parameters())})
    torch.manual_seed(728 + int(spent))
    renewals = int(spent)

    def report(line):
        nonlocal renewals
        log({"animate": "training", **line})
        renew(data, (vae, tower), plan, renewals)
        renewals += 1

    def keep(now):
        kept.save(trainer.state(), spent + now)
        save(averaged(dit, trainer), file)

    keep(trainer.run_timed(seconds, 0.0, report, keep, stop_at))


def run(args, plan, device, log):
    stop_at = time.time() + 60 * args.minutes - 8
    files = {name: args.state / f"{name}.safetensors" for name in ("vae", "tower", "animate")}
    if not files["vae"].exists():
        start = torch.load(args.start_vae, weights_only=True, map_location=device)
        vae = train_figure_vae.train(start, device, log, compiled=plan["compiled"], size=plan["size"], **plan["vae"])
        save({key: value.bfloat16() for key, value in vae.state_dict().items()}, files["vae"])
        del vae
    vae = train_face_vae.load(load_file(files["vae"], device=str(device)), device)
    if not files["tower"].exists():
        save({key: value.half() for key, value in random_tower().state_dict().items()}, files["tower"])
    tower = load_tower(load_file(files["tower"])).to(device)
    table = load_file(args.contexts, device=str(device))["contexts"]
    train_transformer(args, plan, vae, tower, table, log, stop_at, files["animate"])
    dit = animate_dit.load(load_file(files["animate"], device=str(device)), device)
    log(show(vae, dit, tower, table, args.state / "sheet.png", plan["shown"], plan["size"]))
    log({"done": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the results, and of what is kept to go on")
    parser.add_argument("--contexts", type=Path, required=True, help="file that prepare_animate.py has made")
    parser.add_argument("--start_vae", type=Path, default=Path("models/demo-s2v/Wan2.1_VAE.pth"), help="the VAE to begin with")
    parser.add_argument("--start", type=Path, help="transformer to begin with")
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take")
    parser.add_argument("--peak", type=float, help="learning rate of the transformer")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of everything, on a CPU too")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    log = Log(args.state / "log.jsonl")
    log({"arguments": json.loads(json.dumps(vars(args), default=str))})
    run(args, QUICK if args.quick else FULL, training_device(), log)


if __name__ == "__main__":
    main()
