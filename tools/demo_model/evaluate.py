"""Runs the `wan` program over the prompt lists and judges the MP4 files that it wrote.

    python -m tools.demo_model.evaluate --wan build/apps/cli/wan --out DIR [--list heldout|patterns] [--limit N] [-- WAN OPTIONS]

Files that are already in --out are judged as they are, so that a run cut off goes on. Exits with 1 when the scores miss
the targets: of 60 prompts, scene (shape colour, background, direction) and shape 54 and 48 on held-out combinations, 48
and 42 on sentence patterns never trained. Needs numpy and the ffmpeg program.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .judge import FIELDS, judge, read_video, score

HERE = Path(__file__).parent
TARGETS = {"heldout": {"scene": 0.9, "shape": 0.8}, "patterns": {"scene": 0.8, "shape": 0.7}}  # shares of the clips


def generate(args, task, prompt, seed, path, *options):
    command = [str(args.wan), "generate", "--task", task, "--ckpt_dir", str(args.ckpt_dir), "--prompt", prompt,
               "--base_seed", str(seed), "--save_file", str(path), *map(str, options), *args.options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def one_expert(ckpt_dir, name, folder):
    """A copy of the checkpoint in which one expert stands in both experts' places."""
    shutil.copytree(ckpt_dir, folder)
    other = folder / f"{'low' if name == 'high' else 'high'}_noise_model"
    shutil.rmtree(other)
    shutil.copytree(folder / f"{name}_noise_model", other)
    return folder


def report_mistakes(name, seen, item):
    wrong = [f"{field} {seen[field]}, not {item[field]}" for field in FIELDS if seen[field] != item[field]]
    if wrong:
        print(f"{name}: {'; '.join(wrong)} ({item['prompt']})", flush=True)


def evaluate(args, name):
    items = json.loads((HERE / f"prompts_{name}.json").read_text())[:args.limit]
    pairs = []
    for number, item in enumerate(items):
        path = args.out / f"{name}_{number:02d}.mp4"
        if not path.exists():
            generate(args, "t2v-A14B", item["prompt"], args.seed + number, path)
        pairs.append((judge(read_video(path)), item))
        report_mistakes(path.name, *pairs[-1])
    counts = score(pairs)
    print(json.dumps({"list": name, **counts}), flush=True)
    return all(counts[key] >= share * len(items) for key, share in TARGETS[name].items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, required=True, help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("models/demo"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the MP4 files")
    parser.add_argument("--list", choices=tuple(TARGETS), action="append", help="both lists when left out")
    parser.add_argument("--limit", type=int, help="the first N prompts of each list")
    parser.add_argument("--seed", type=int, default=0, help="of the first prompt; each next one adds 1")
    parser.add_argument("options", nargs="*", help="passed on to the program")
    parser.add_argument("--expert", choices=("high", "low"), help="let this expert alone make all the steps")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if args.expert:
            args.ckpt_dir = one_expert(args.ckpt_dir, args.expert, Path(folder) / "checkpoint")
        reached = [evaluate(args, name) for name in args.list or TARGETS]
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
