"""Trains the image-to-video demo: its VAE on colours of the whole cube, then its two experts, within a given time.

    python -m tools.demo_model.train_i2v --state STATE --minutes 9 [--base models/demo-i2v] [--out DIR] [--quick]

The stages, each skipped when its file is in STATE: the VAE of `--base` trained on (widen_vae.py); the experts of `--base`,
those of a text-to-video checkpoint with columns of zeros for the condition (condition.py), each on its range of noise
levels; and scores. The experts share the time that the first call has left, or take `--expert_seconds` each. A call that ends early
or is cut off leaves at most a minute of an expert behind: the same command goes on. All files in STATE are below 16 MiB.
`--expert NAME` trains one of them alone, so that two GPUs can share the work once the VAE is there (`--vae_only`); scores
and `--out`, the checkpoint's own parts in the official layout, are left to a call without it.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import cube, prompts, train_dit, train_text, widen_vae, world
from .condition import BOUNDARY, CHANNELS
from .dit import Dit, DitConfig, config_of
from .export import I2V_GENERATION, write_experts, write_json, write_vae
from .i2v_clips import encode_pairs
from .i2v_scores import score_all
from .kept import Kept, Log
from .optim import Trainer, training_device
from .torch_scores import Models

RANGES = {"high": (train_dit.u_of(BOUNDARY), 1.0), "low": (0.0, train_dit.u_of(BOUNDARY))}
SEEDS = {"high": 717, "low": 818}
COMPILE_SECONDS = 30  # put aside for the experts
SCORE_SECONDS = 45
FULL = {
    # Frames, clips a step (palette, free colours, free colours with their ends alone), steps, most seconds, peak learning
    # rate, whether the norm is compiled (which takes 40 seconds).
    "vae": [(1, (12, 52, 0), 1800, 70, 1.5e-3, False), (17, (1, 2, 1), 4400, 185, 1.2e-3, True)],
    "clips": 16_000, "sentences": 64, "batch": 128, "peak": 1e-3, "scored": 80, "compiled": True,
    "side": world.SIZE, "sample_steps": 20,
}
QUICK = {"vae": [(1, (1, 2, 0), 3, 60, 1e-3, False), (17, (1, 2, 1), 1, 60, 1e-3, False)],
         "clips": 3, "sentences": 1, "batch": 2, "peak": 1e-3, "scored": 1, "compiled": False, "side": 32,
         "sample_steps": 1}


def started_from(base, layers, device):
    """A trainable transformer with the weights of `base`: of `layers` of its blocks, evenly spread, and with a condition that
    counts for nothing yet where it had none."""
    state = {key: value.clone() for key, value in base.state_dict().items() if not key.startswith("blocks.")}
    for block in range(layers):
        taken = base.blocks[round(block * (len(base.blocks) - 1) / max(1, layers - 1))]
        state |= {f"blocks.{block}.{key}": value.clone() for key, value in taken.state_dict().items()}
    if base.config.condition_channels == 0:
        weight = state["patch_embedding.weight"]  # [dim, channels, 1, 2, 2]
        state["patch_embedding.weight"] = torch.cat(
            [weight, weight.new_zeros(weight.shape[0], CHANNELS, *weight.shape[2:])], dim=1)
    dit = Dit(config_of(state)).to(device)
    dit.load_state_dict(state)
    return dit


def train(name, base, data, conditions, device, log, plan, kept, seconds, stop_at):
    """`name`: high or low. Returns the averaged weights in bf16, or None where `stop_at` came first."""
    dit = started_from(base, plan["layers"], device)
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


def train_experts(args, plan, models, names, log, stop_at):
    """Leaves the file of each expert in the state folder; False where the time was over before."""
    every, device = cube.scenes(), models.device
    table, empty = train_text.context_table(models.encoder, models.tokenizer, every, plan["sentences"], device,
                                            prompts.picture_prompt)
    log({"sentences": list(table.shape)})
    latents, conditions, rows = encode_pairs(models.vae, every, plan["clips"], device)
    log({"latents": list(latents.shape), "deviation": round(latents.float().std().item(), 3),
         "largest": round(latents.float().abs().max().item(), 2),
         "condition_deviation": round(conditions[:, 4:].float().std().item(), 3)})
    schedule = args.state / "schedule.json"
    if not args.expert_seconds and not schedule.exists():
        left = stop_at - time.time() - COMPILE_SECONDS - SCORE_SECONDS
        schedule.write_text(json.dumps({"seconds_an_expert": round(max(left, 10.0) / len(names), 1)}))
    seconds = args.expert_seconds or json.loads(schedule.read_text())["seconds_an_expert"]
    for name in names:
        kept = Kept(args.state, name)
        expert = train(name, models.experts[name], (latents, rows, table, empty), conditions, device, log, plan, kept, seconds,
                       stop_at)
        if expert is None:
            log({"paused": name, "next": "the same command goes on"})
            return False
        path = args.state / f"{name}.safetensors"
        save_file(expert, path.with_suffix(".part"), metadata={"format": "pt"})
        path.with_suffix(".part").rename(path)
        kept.remove()
    return True


def run(args, plan, device, log):
    stop_at = time.time() + 60 * args.minutes - 10  # seconds to write what is kept
    vae_file = args.state / "vae.safetensors"
    files = {name: args.state / f"{name}.safetensors" for name in RANGES}
    if not vae_file.exists():
        vae = widen_vae.train(Models(args.base, device).vae, device, log, plan["vae"], plan["compiled"],
                              plan["side"])
        save_file({key: value.detach().bfloat16().cpu().contiguous() for key, value in vae.state_dict().items()},
                  vae_file.with_suffix(".part"))
        vae_file.with_suffix(".part").rename(vae_file)
        del vae
    if args.vae_only:
        return
    vae_state = load_file(vae_file, device=str(device))
    models = Models(args.base, device, vae_state)
    missing = [name for name in ([args.expert] if args.expert else RANGES) if not files[name].exists()]
    if missing and not train_experts(args, plan, models, missing, log, stop_at) or args.expert:
        return
    states = {name: load_file(path, device=str(device)) for name, path in files.items()}
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_experts(args.out, {f"{name}_noise_model": state for name, state in states.items()}, config_of(states["high"]))
        write_vae(args.out, vae_state)
        write_json(args.out / "generation_config.json", I2V_GENERATION)
    models.experts = {name: train_dit.load(state, device) for name, state in states.items()}
    score_all(models, args.text_base, vae_state, plan["scored"], plan["sample_steps"], log)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the stages' files, and of what is kept to go on")
    parser.add_argument("--base", type=Path, default=Path("models/demo-i2v"), help="the checkpoint to start from")
    parser.add_argument("--text_base", type=Path, default=Path("models/demo"), help="the text to video that shares the VAE")
    parser.add_argument("--out", type=Path, help="folder of the finished checkpoint's own parts")
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take")
    parser.add_argument("--expert_seconds", type=float, help="of training, for each expert")
    parser.add_argument("--expert", choices=tuple(RANGES), help="train this one alone")
    parser.add_argument("--layers", type=int, default=DitConfig().layers, help="of an expert: fewer make it smaller")
    parser.add_argument("--vae_only", action="store_true", help="stop when the VAE is there")
    parser.add_argument("--quick", action="store_true", help="a few clips, to see that it runs; on a CPU too")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    plan = {**(QUICK if args.quick else FULL), "layers": args.layers}
    run(args, plan, training_device(), Log(args.state / "log.jsonl"))


if __name__ == "__main__":
    main()
