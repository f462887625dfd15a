"""Makes the image-to-video experts out of the text-to-video demo's, on one GPU within a given time.

    python -m tools.demo_model.train_i2v --state STATE --minutes 9 [--base models/demo] [--quick]

The patch embedding gets columns of zeros for the condition (see condition.py), and each expert is trained on its range of
noise levels. The first call shares the time that is left after encoding the clips between the two experts. A call that
ends early, or is cut off, leaves at most a minute behind: the same command goes on. All files in STATE are below 16 MiB.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from . import i2v_cases, train_dit, train_text, world
from .condition import BOUNDARY, CHANNELS, image_condition, to_8_bits
from .dit import Dit, DitConfig
from .judge import judge, score
from .optim import Trainer, training_device
from .sampler import sample_latents, to_frames
from .torch_scores import Models
from .train import Log
from .vae import normalised_decode, normalised_encode

RANGES = {"high": (train_dit.u_of(BOUNDARY), 1.0), "low": (0.0, train_dit.u_of(BOUNDARY))}
SEEDS = {"high": 707, "low": 808}
COMPILE_SECONDS = 50  # put aside, for both experts
SCORE_SECONDS = 50
FULL = {"clips": 16_000, "sentences": 100, "batch": 128, "peak": 1e-3, "scored": 60, "compiled": True}
QUICK = {"clips": 8, "sentences": 1, "batch": 4, "peak": 1e-3, "scored": 2, "compiled": False}


@torch.no_grad()
def encode_pairs(vae, scenes, count, device, batch=64):
    """Latents [count, 16, 5, 16, 16] and conditions [count, CHANNELS, 5, 16, 16] of the same clips, bf16, and scene numbers
    [count]; every scene gets the same share of clips."""
    renderer = world.Renderer(scenes, device, draw=world.draw_motion_anywhere)
    generator = torch.Generator(device).manual_seed(404)
    numbers = torch.arange(count, device=device) % len(scenes)
    frames = torch.arange(world.FRAMES, device=device)
    latents, conditions = [], []
    for part in numbers.split(batch):
        clips = renderer(part, frames, generator)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            latents.append(normalised_encode(vae, clips).bfloat16())
            conditions.append(image_condition(vae, to_8_bits(clips[:, :, :1])).bfloat16())
    return torch.cat(latents), torch.cat(conditions), numbers


def widened(base, device):
    """A trainable transformer with the weights of `base`, whose condition counts for nothing yet."""
    dit = Dit(DitConfig(condition_channels=CHANNELS)).to(device)
    state = {key: value.clone() for key, value in base.state_dict().items()}
    weight = state["patch_embedding.weight"]  # [dim, channels, 1, 2, 2]
    state["patch_embedding.weight"] = torch.cat(
        [weight, weight.new_zeros(weight.shape[0], CHANNELS, *weight.shape[2:])], dim=1)
    dit.load_state_dict(state)
    return dit


class Kept:
    """An expert in training, as three files; they take their names together when all are written."""

    def __init__(self, folder, name):
        self.files = {part: folder / f"{name}.{part}.safetensors" for part in ("weights", "average", "moments")}

    def save(self, state, spent):
        parts = []
        for part, path in self.files.items():
            parts.append((path.with_suffix(".part"), path))
            tensors = {key: value.cpu().contiguous() for key, value in state[part].items()}
            save_file(tensors, parts[-1][0], metadata={"spent": str(spent)})
        for written, path in parts:
            written.rename(path)

    def load(self):
        """(state, seconds spent), or None where nothing was kept."""
        if not all(path.exists() for path in self.files.values()):
            return None
        with safe_open(self.files["weights"], framework="pt") as file:
            spent = float(file.metadata()["spent"])
        return {part: load_file(path) for part, path in self.files.items()}, spent

    def remove(self):
        for path in self.files.values():
            path.unlink(missing_ok=True)


def train(name, base, data, conditions, device, log, plan, kept, seconds, stop_at):
    """`name`: high or low. Returns the averaged weights in bf16, or None where `stop_at` came first."""
    dit = widened(base, device)
    if plan["compiled"] and device.type == "cuda":
        for block in dit.blocks:
            block.compile(dynamic=False)
    loss_fn = train_dit.make_loss(dit, *data, plan["batch"], RANGES[name], conditions)
    trainer = Trainer([dit], loss_fn, plan["peak"], decay=0.01, average=0.999)
    begun = time.time()
    trainer.prepare()
    # `prepare` has seen the data at learning rate 0: only moments changed, which a first step at a small rate forgives.
    before, spent = kept.load() or (None, 0.0)
    if before:
        trainer.restore(before)
    log({"expert": name, "ready_after": round(time.time() - begun, 1), "spent": round(spent, 1), "of": round(seconds, 1)})
    torch.manual_seed(SEEDS[name] + int(spent))
    spent = trainer.run_timed(seconds, spent, lambda line: log({"expert": name, **line}),
                              lambda done: kept.save(trainer.state(), done), stop_at)
    if spent < seconds:
        return None
    trainer.use_average()
    return {key: value.detach().bfloat16().cpu().contiguous() for key, value in dit.state_dict().items()}


@torch.no_grad()
def scores(models, experts, name, count, device):
    """Of a list of cases: what the judge sees, and how near the first frame is to the image."""
    items, images = zip(*i2v_cases.cases(name)[:count])
    pixels = torch.tensor(np.stack(images), device=device).permute(0, 3, 1, 2)[:, :, None] / 127.5 - 1
    latents = sample_latents(experts, models.encoder, models.tokenizer, [item["prompt"] for item in items], device,
                             condition=image_condition(models.vae, pixels), boundary=BOUNDARY)
    clips = np.concatenate([to_frames(normalised_decode(models.vae, part)) for part in latents.split(10)])
    return {**score([(judge(clip), item) for clip, item in zip(clips, items)]),
            "first_frame_psnr": i2v_cases.first_frame_psnr(clips[:, 0], images)}


def run(state, base, plan, minutes, device, log):
    start = time.time()
    stop_at = start + 60 * minutes - 10  # seconds to write what is kept
    models = Models(base, device)
    done = {name: state / f"{name}.safetensors" for name in ("high", "low")}
    if not all(path.exists() for path in done.values()):
        scenes, _ = world.split_scenes()
        table, empty = train_text.context_table(models.encoder, models.tokenizer, scenes, plan["sentences"], device)
        log({"sentences": list(table.shape)})
        latents, conditions, numbers = encode_pairs(models.vae, scenes, plan["clips"], device)
        log({"latents": list(latents.shape), "deviation": round(latents.float().std().item(), 3),
             "condition_deviation": round(conditions[:, 4:].float().std().item(), 3)})
        schedule = state / "schedule.json"
        if not schedule.exists():
            left = stop_at - time.time() - COMPILE_SECONDS - SCORE_SECONDS
            schedule.write_text(json.dumps({"seconds_an_expert": round(max(left, 10.0) / 2, 1)}))
        seconds = json.loads(schedule.read_text())["seconds_an_expert"]
        for name, path in done.items():
            if path.exists():
                continue
            kept = Kept(state, name)
            expert = train(name, models.experts[name], (latents, numbers, table, empty), conditions, device, log, plan,
                           kept, seconds, stop_at)
            if expert is None:
                log({"paused": name, "next": "the same command goes on"})
                return
            save_file(expert, path.with_suffix(".part"), metadata={"format": "pt"})
            path.with_suffix(".part").rename(path)
            kept.remove()
        log({"trained": True})
    torch.backends.cudnn.benchmark = False  # trying convolutions out costs more than these few clips
    experts = {name: train_dit.load(load_file(path, device=str(device)), device) for name, path in done.items()}
    for name in i2v_cases.LISTS:
        log({name: scores(models, experts, name, plan["scored"], device)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the experts, and of what is kept to go on")
    parser.add_argument("--base", type=Path, default=Path("models/demo"), help="the text-to-video checkpoint")
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take")
    parser.add_argument("--quick", action="store_true", help="a few clips, to see that it runs; on a CPU too")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    run(args.state, args.base, QUICK if args.quick else FULL, args.minutes, training_device(), Log(args.state / "log.jsonl"))


if __name__ == "__main__":
    main()
