"""Trains the speech-to-video demo: its audio encoder, its VAE and its transformer, within a given time.

    python -m tools.demo_model.prepare_s2v --out SOUNDS          once, where espeak-ng is
    python -m tools.demo_model.train_s2v --state STATE --sounds SOUNDS --minutes 15 [--quick]

The stages, each skipped when its file is in STATE: `wav2vec2` (train_wav2vec2.py), `vae` (train_face_vae.py), `s2v`, the
transformer; then scores of the held-out sounds, in PyTorch. The transformer trains for the time that the first call has
left, or for `--s2v_seconds`; a call that is cut off leaves at most a minute of it behind, and the same command goes on. All
files in STATE are below 16 MiB. Text encoder and tokenizer are those of models/demo.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import s2v_dit, s2v_scores, speech_sounds, speech_world, train_face_vae, train_vae, train_wav2vec2
from .kept import Kept, Log
from .optim import Trainer, training_device
from .s2v_clips import draw_openings, encode
from .s2v_sampler import SHIFT
from .train_dit import sigma_of
from .wav2vec2 import AudioConfig, Wav2Vec2

FULL = {
    "wav2vec2": {"steps": 3000, "seconds": 42, "batch": 48, "sounds": 4096},
    "curves": 4096,
    # Frames, clips a step, steps, most seconds, peak learning rate, whether the norm is compiled (which takes 30 seconds).
    "vae": {"phases": [(1, 64, 2600, 70, 3e-3, False), (41, 3, 6000, 225, 2e-3, True)]},
    "clips": 3000, "batch": (8, 24), "peak": 1.6e-3, "compiled": True, "size": speech_world.SIZE,
    "settings": [(10, 1.0), (6, 1.0), (10, 2.0), (20, 1.0)],
}
QUICK = {
    "wav2vec2": {"steps": 1, "seconds": 60, "batch": 1, "sounds": 2}, "curves": 2,
    "vae": {"phases": [(1, 2, 2, 60, 1e-3, False), (5, 1, 1, 60, 1e-3, False)], "measured": 1, "long": 9, "size": 64},
    "clips": 2, "batch": (1, 1), "peak": 1e-3, "compiled": False, "size": 64, "settings": [(1, 1.5)],
}
SCORE_SECONDS = 60
SILENCED = 0.1  # of the clips are trained without their sounds and sentences, for guidance
TOLD = 0.85  # of the others come with a sentence
MOUTH_WEIGHT = 4.0  # that errors near mouths count more
WORST_PAST = 0.35  # deviation of the noise on the past, which at the engine comes out of the VAE again and again
WORST_SHIFT = 0.2  # of each channel's shift there


def spoil(past):
    """Pasts as they are after several clips: noisy, and a little off in their colours."""
    count, channels = past.shape[:2]
    strength = torch.rand(count, 1, 1, 1, 1, device=past.device).square()
    shift = torch.randn(count, channels, 1, 1, 1, device=past.device) * torch.rand(count, 1, 1, 1, 1, device=past.device)
    return past + WORST_PAST * strength * torch.randn_like(past) + WORST_SHIFT * shift * strength.sqrt()


def make_loss(dit, data, table, parts):
    """Velocity matching; `parts`: first clips and later clips a step. `data`: of s2v_clips.encode; table [S, K, dim] of
    sentences, the first of them the empty one."""
    device = table.device
    total = sum(parts)

    def half(target, count):
        pick = torch.randint(len(data[target]), (count,), device=device)
        clean = data[target][pick].float()
        noise = torch.randn_like(clean)
        # One draw in each of as many equal parts of the range as the step has clips.
        u = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
        sigma = sigma_of(u, SHIFT)
        level = sigma.view(-1, 1, 1, 1, 1)
        begin = 0 if target == "first" else speech_world.MOTION
        audio = data["audio"][pick][..., begin:begin + speech_world.CLIP].float()
        silenced = torch.rand(count, device=device) < SILENCED
        audio = audio * ~silenced.view(-1, 1, 1, 1)
        sentence = torch.randint(len(table), (count,), device=device)
        sentence = sentence * (torch.rand(count, device=device) < TOLD) * ~silenced
        past = None if target == "first" else spoil(data["past"][pick].float())
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            velocity = dit((1 - level) * clean + level * noise, 1000 * sigma, table[sentence].float(),
                           data["reference"][pick].float(), audio, past)
        weight = 1 + MOUTH_WEIGHT * data["weight"][pick].float()
        return (weight * (velocity.float() - (noise - clean)).square()).mean() * (count / total)

    def loss_fn():
        return half("first", parts[0]) + half("later", parts[1])

    return loss_fn


class Models:
    """What the transformer needs of others: VAE and audio encoder of the state, encoded sentences."""

    def __init__(self, state, sounds, device):
        self.device = device
        self.vae = train_face_vae.load(load_file(state / "vae.safetensors", device=str(device)), device)
        self.audio = Wav2Vec2(AudioConfig()).to(device)
        self.audio.load_state_dict(load_file(state / "wav2vec2.safetensors", device=str(device)))
        self.audio.eval().requires_grad_(False)
        contexts = load_file(sounds / "contexts.safetensors", device=str(device))
        self.trained, self.judged = contexts["trained"], contexts["judged"]  # the first of the trained is the empty one


def save(tensors, path):
    """Whole or not at all."""
    part = path.with_suffix(".part")
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, part,
              metadata={"format": "pt"})
    part.rename(path)


def train_transformer(args, plan, models, sounds, openings, log, stop_at):
    """Returns the averaged weights, or None where the time was over before."""
    device = models.device
    begun = time.time()
    if device.type == "cuda":
        train_vae.channels_last(models.vae)
    data = encode(models.vae, models.audio, sounds[:plan["clips"]], openings[:plan["clips"]], device, size=plan["size"])
    deviations = {name: round(values.float().std().item(), 3) for name, values in data.items()}
    log({"latents": list(data["later"].shape), "deviations": deviations, "seconds": round(time.time() - begun, 1)})
    torch.manual_seed(717)
    config = s2v_dit.S2vConfig(layers=args.layers)
    dit = s2v_dit.S2vDit(config).to(device)
    if plan["compiled"] and device.type == "cuda":
        torch._dynamo.config.recompile_limit = 256
        for part in (*dit.blocks, *dit.audio_injector.injector):
            part.compile(dynamic=False)
    trainer = Trainer([dit], make_loss(dit, data, models.trained, plan["batch"]), plan["peak"], decay=0.01, average=0.999)
    begun = time.time()
    trainer.prepare()
    schedule = args.state / "schedule.json"
    if not args.s2v_seconds and not schedule.exists():
        schedule.write_text(json.dumps({"seconds": round(max(10.0, stop_at - time.time() - SCORE_SECONDS), 1)}))
    seconds = args.s2v_seconds or json.loads(schedule.read_text())["seconds"]
    kept = Kept(args.state, "s2v_training")
    before, spent = kept.load() or (None, 0.0)
    if before:
        trainer.restore(before)
    log({"s2v": "ready", "ready_after": round(time.time() - begun, 1), "spent": round(spent, 1), "of": seconds,
         "parameters": sum(p.numel() for p in dit.parameters())})
    torch.manual_seed(718 + int(spent))
    spent = trainer.run_timed(seconds, spent, lambda line: log({"s2v": "training", **line}),
                              lambda done: kept.save(trainer.state(), done), stop_at)
    if spent < seconds:
        return None
    trainer.use_average()
    kept.remove()
    return {key: value.detach().bfloat16() for key, value in dit.state_dict().items()}


def run(args, plan, device, log):
    stop_at = time.time() + 60 * args.minutes - 5
    pool = speech_sounds.load_pool(args.sounds / "speech.npy", device)
    files = {name: args.state / f"{name}.safetensors" for name in ("wav2vec2", "vae", "s2v")}
    if not files["wav2vec2"].exists():
        save(train_wav2vec2.train(pool, device, log, **plan["wav2vec2"]).state_dict(), files["wav2vec2"])
    sounds, openings = draw_openings(max(plan["curves"], plan["clips"]), device, pool, seed=303)
    log({"sounds": list(sounds.shape), "opening": round(openings.mean().item(), 3),
         "moves": round(openings.diff(dim=1).abs().mean().item(), 3)})
    if not files["vae"].exists():
        vae = train_face_vae.train(openings, device, log, compiled=plan["compiled"], **plan["vae"])
        save({key: value.bfloat16() for key, value in vae.state_dict().items()}, files["vae"])
        del vae
    models = Models(args.state, args.sounds, device)
    if not files["s2v"].exists():
        state = train_transformer(args, plan, models, sounds, openings, log, stop_at)
        if state is None:
            log({"paused": "s2v", "next": "the same command goes on"})
            return
        save(state, files["s2v"])
    state = load_file(files["s2v"], device=str(device))
    del sounds, openings, pool
    s2v_scores.score_all(models, s2v_dit.load(state, device), args.sounds / "heldout.npz", plan["settings"], log,
                         stop_at=None if args.quick else time.time() + SCORE_SECONDS, quick=args.quick)
    log({"done": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the stages' files, and of what is kept to go on")
    parser.add_argument("--sounds", type=Path, required=True, help="folder that prepare_s2v.py has filled")
    parser.add_argument("--minutes", type=float, default=15.0, help="that this call may take")
    parser.add_argument("--s2v_seconds", type=float, help="of training, for the transformer")
    parser.add_argument("--layers", type=int, default=s2v_dit.S2vConfig().layers)
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of everything, on a CPU too")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    run(args, QUICK if args.quick else FULL, training_device(), Log(args.state / "log.jsonl"))


if __name__ == "__main__":
    main()
