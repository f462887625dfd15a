"""Race `wan` against PyTorch on the same job, cores, threads and precision (fp32), in one run.

    python bench/vs_pytorch.py --wan build/apps/cli/wan --ckpt_dir models/demo --wan_dir Wan2.2

With --wan_dir (or the environment variable WAN_REFERENCE_DIR) PyTorch runs the official code, patched to run on a CPU in
fp32 (tools/golden/official.py); without it, the modules of tools/demo_model. Both start as fresh processes, pinned to the
same cores, and alternate. The first round, which brings the files into the page cache, is not counted; its frames are
compared before they are encoded, so that the race is one between equal videos. Wall times are the parent's, from process
start to exit with the MP4 written; phases are measured inside each process. Medians of the repeats.

  ratio whole                   PyTorch's wall time over wan's, its import counted
  ratio whole_without_import    the same without PyTorch's import
  ratio PHASE                   load, text, high_noise, low_noise, decode, encode
  ratio decode_and_encode       wan encodes while it decodes, and its encode phase is what is left after the last frame:
                                this line compares like with like

Versions: tools/golden/requirements.txt.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PHASES = ("load", "text", "high_noise", "low_noise", "decode", "encode")
OPTIONS = ("size", "frame_num", "sample_solver", "sample_steps", "sample_shift")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", type=Path, default=HERE.parent / "build" / "apps" / "cli" / "wan", help="the program")
    parser.add_argument("--ckpt_dir", type=Path, default=HERE.parent / "models" / "demo")
    parser.add_argument("--wan_dir", default=os.environ.get("WAN_REFERENCE_DIR"), help="default: $WAN_REFERENCE_DIR")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has PyTorch")
    parser.add_argument("--prompt", default="a red circle moves right on a blue background")
    parser.add_argument("--base_seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all allowed cores")
    parser.add_argument("--repeats", type=int, default=5, help="after one round that is not counted")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--size", help="this and the following: default of the checkpoint directory")
    parser.add_argument("--frame_num", type=int)
    parser.add_argument("--sample_solver")
    parser.add_argument("--sample_steps", type=int)
    parser.add_argument("--sample_shift", type=float)
    args = parser.parse_args()
    for path in (args.wan, args.ckpt_dir):
        if not path.exists():
            parser.error(f"{path} does not exist")
    return args


def commands(args, folder):
    job = ["--ckpt_dir", str(args.ckpt_dir), "--prompt", args.prompt, "--base_seed", str(args.base_seed)]
    for name in OPTIONS:
        if getattr(args, name) is not None:
            job += [f"--{name}", str(getattr(args, name))]
    pytorch = [args.python, str(HERE / "pytorch_job.py"), *job, "--threads", str(args.threads)]
    if args.wan_dir:
        pytorch += ["--wan_dir", args.wan_dir]
    wan = [str(args.wan), "generate", *job, "--precision", "fp32", "--rng", "torch-cpu", "--threads",
           str(args.threads), "--json"]
    return {"pytorch": [*pytorch, "--save_file", str(folder / "pytorch.mp4")],
            "wan": [*wan, "--save_file", str(folder / "wan.mp4")]}


def run_process(command, cores):
    """Wall seconds, peak memory in bytes and standard output of a process pinned to `cores`."""
    threads = str(len(cores))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment,
                                   preexec_fn=lambda: os.sched_setaffinity(0, cores))
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        if status != 0:
            sys.exit(f"{shlex.join(command)}\nfailed:\n{err.read()[-3000:]}")
        return wall, usage.ru_maxrss * 1024, out.read()


def phases_of_pytorch(output):
    return json.loads(output.strip().splitlines()[-1])


def phases_of_wan(output):
    seconds = {}
    for line in output.splitlines():
        event = json.loads(line)
        if event["event"] == "phase_finished":
            seconds[event["phase"]] = seconds.get(event["phase"], 0.0) + event["seconds"]
    return seconds


def run_side(side, command, folder, cores):
    video = folder / f"{side}.mp4"
    video.unlink(missing_ok=True)
    wall, peak, output = run_process(command, cores)
    if not video.is_file():
        sys.exit(f"{shlex.join(command)}\nwrote no video")
    return {"wall": wall, "peak_bytes": peak,
            "phases": phases_of_pytorch(output) if side == "pytorch" else phases_of_wan(output)}


def compare_frames(args, folder, sides, cores):
    """The uncounted round: [mean, largest] difference of the two sides' frames in grey levels."""
    run_side("pytorch", [*sides["pytorch"], "--frames", str(folder / "pytorch.npy")], folder, cores)
    run_side("wan", [*sides["wan"], "--dump", str(folder / "dump")], folder, cores)
    script = ("import json, sys, numpy as np;"
              "a, b = (np.load(p).astype(int) for p in sys.argv[1:]);"
              "assert a.shape == b.shape, (a.shape, b.shape); d = abs(a - b); print(json.dumps([d.mean(), int(d.max())]))")
    result = subprocess.run([args.python, "-c", script, str(folder / "pytorch.npy"), str(folder / "dump" / "frames.npy")],
                            text=True, capture_output=True)
    if result.returncode != 0:
        sys.exit(f"comparing the two videos failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout)


def measure(args, folder, sides, cores):
    """By side, a list of measurements: {"wall", "peak_bytes", "phases"}."""
    measured = {side: [] for side in sides}
    for _ in range(args.repeats):
        for side, command in sides.items():
            measured[side].append(run_side(side, command, folder, cores))
    return measured


def summarise(runs):
    """Medians: whole job, and each phase that was seen."""
    seconds = {"whole": statistics.median(run["wall"] for run in runs)}
    without_import = [run["wall"] - run["phases"].get("import", 0.0) for run in runs]
    seconds["whole_without_import"] = statistics.median(without_import)
    for phase in PHASES:
        values = [run["phases"][phase] for run in runs if phase in run["phases"]]
        if values:
            seconds[phase] = statistics.median(values)
    seconds["decode_and_encode"] = statistics.median(
        run["phases"]["decode"] + run["phases"]["encode"] for run in runs)
    return seconds


def main():
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sides = commands(args, folder)
        reference = "official code" if args.wan_dir else "tools/demo_model"
        print(f"reference: {reference}; {args.threads} threads, fp32, {args.repeats} repeats after one uncounted")
        for side, command in sides.items():
            print(f"{side}: {shlex.join(command)}")
        cores = set(sorted(os.sched_getaffinity(0))[:args.threads])
        mean, largest = compare_frames(args, folder, sides, cores)
        measured = measure(args, folder, sides, cores)
    summary = {side: summarise(runs) for side, runs in measured.items()}
    names = [name for name in summary["pytorch"] if name in summary["wan"]]
    ratios = {name: summary["pytorch"][name] / summary["wan"][name] for name in names if summary["wan"][name] > 0}
    print(f"{'seconds (median)':24}{'pytorch':>10}{'wan':>10}")
    for name in names:
        print(f"{name:24}{summary['pytorch'][name]:10.3f}{summary['wan'][name]:10.3f}")
    peaks = {side: max(run["peak_bytes"] for run in runs) for side, runs in measured.items()}
    print(f"{'peak memory, MB':24}{peaks['pytorch'] / 1e6:10.0f}{peaks['wan'] / 1e6:10.0f}")
    print(f"frames differ by {mean:.5f} grey levels on average, {largest} at most")
    for name, ratio in ratios.items():
        print(f"ratio {name} {ratio:.2f}")
    if args.json:
        args.json.write_text(json.dumps({
            "reference": reference, "threads": args.threads, "repeats": args.repeats, "ratios": ratios,
            "median_seconds": summary, "peak_bytes": peaks, "frame_difference": {"mean": mean, "largest": largest}, "measurements": measured,
            "commands": {side: shlex.join(command) for side, command in sides.items()}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
