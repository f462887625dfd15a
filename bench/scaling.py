"""How a task scales over the GPUs of one machine, in one run: tables in Markdown on standard output, every measurement in --json.

    python bench/scaling.py --wan build-cuda/apps/cli/wan --gpus 1,2,4,8 --official Wan2.2 --ckpt_dir /tmp/random-A14B --json scaling.json

Of each size and number of GPUs, in every layout that it has:
* by `wan bench` on random weights: a pass whose tokens all GPUs divide (Ulysses), a step of both passes with each on a half of the GPUs
  (guidance parallel, Ulysses inside) and with both divided, decoding; times, what of one GPU's they are, the memory of a GPU, and what of a
  divided pass is more than an equal share of one GPU's (exchanges that were not hidden, work that does not divide)
* with --ckpt_dir (bench/random_checkpoint.py writes one) by `wan generate`: whole weights and sharded ones (--dit_fsdp), the time to
  load, of a step, of the whole run; as many steps as --steps names, such as 4,40
* with --official by bench/vs_official.py: the official pass under Ulysses, with FSDP too
* with --kill and --ckpt_dir: of two processes of mpirun one is stopped while it computes; how long the other takes to end
--device cpu tries all of it on parts of the CPU, with --num_layers 1 and a small --sizes. The standard library alone; the official
part needs PyTorch.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("--wan", type=Path, default=HERE.parent / "build" / "apps" / "cli" / "wan", help="the program")
    parser.add_argument("--task", default="t2v-A14B")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=["832*480", "1280*720"])
    parser.add_argument("--frame_num", type=int, default=81)
    parser.add_argument("--gpus", type=numbers, default=[1, 2], help="numbers of GPUs, such as 1,2,4,8; 1 is what others are held against")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--num_layers", type=int, default=0, help="of the transformer in wan bench; default: all")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--phases", default="forward,step,decode", help="of wan bench")
    parser.add_argument("--ckpt_dir", type=Path, help="a checkpoint, for whole runs")
    parser.add_argument("--steps", type=numbers, default=[3], help="of whole runs")
    parser.add_argument("--official", type=Path, help="a clone of Wan-Video/Wan2.2")
    parser.add_argument("--kill", action="store_true", help="stop one of two processes")
    parser.add_argument("--json", type=Path, help="write every measurement here, after each")
    args = parser.parse_args()
    if 1 not in args.gpus:
        parser.error("--gpus: 1 is missing, which others are held against")
    if not args.wan.is_file():
        parser.error(f"--wan {args.wan} does not exist; build it first")
    if args.kill and not args.ckpt_dir:
        parser.error("--kill needs --ckpt_dir")
    return args


class Measurements:
    """What was measured, a row a command; a command that fails is a row with its error, and the rest go on."""

    def __init__(self, path):
        self.path, self.rows = path, []

    def add(self, **row):
        self.rows.append(row)
        if self.path:
            self.path.write_text(json.dumps(self.rows, indent=1) + "\n")
        if row.get("error"):
            print(f"{row['kind']} on {row['gpus']}: {row['error']}", file=sys.stderr)

    def find(self, **wanted):
        return next((row for row in self.rows if not row.get("error") and all(row.get(key) == value for key, value in wanted.items())), None)


def call(command):
    """(lines of JSON or text on standard output, the error's last line or "")"""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.stdout, "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def ranks(args, count):
    if count == 1:
        return []
    return ["--gpus" if args.device == "cuda" else "--ulysses_size", count]


def layouts(count):
    """(name, options) of the ways in which a step's two passes are divided."""
    if count == 1:
        return [("one", [])]
    divided = [(f"Ulysses {count}", ["--guidance_parallel", "off"])]
    return divided + ([(f"guidance 2 x Ulysses {count // 2}", ["--guidance_parallel", "on"])] if count % 2 == 0 else [])


def bench(args, size, count, measured):
    for layout, options in layouts(count):
        command = [args.wan, "bench", "--task", args.task, "--size", size, "--frame_num", args.frame_num, "--device", args.device,
                   "--phases", args.phases, "--repeats", args.repeats, "--warmup", args.warmup, "--json", *ranks(args, count), *options]
        if args.num_layers:
            command += ["--num_layers", args.num_layers]
        out, error = call(command)
        if error:
            measured.add(kind="bench", size=size, gpus=count, layout=layout, error=error)
            continue
        for row in json.loads(out)["rows"]:
            measured.add(kind="bench", size=size, gpus=count, layout=layout, phase=row["phase"], seconds=row["median_seconds"],
                         bytes=row["peak_device_bytes"] or row["peak_host_bytes"])


def generate_command(args, size, steps, folder):
    return [args.wan, "generate", "--task", args.task, "--ckpt_dir", args.ckpt_dir, "--size", size, "--frame_num", args.frame_num, "--device",
            args.device, "--sample_steps", steps, "--base_seed", 1, "--prompt", "a red circle", "--json", "--save_file", Path(folder) / "%05d.png"]


def whole_runs(args, size, count, measured):
    for sharded in (False, True) if count > 1 else (False,):
        for steps in args.steps:
            name = "sharded" if sharded else "whole"
            with tempfile.TemporaryDirectory(prefix="wan-scaling-") as folder:
                out, error = call([*generate_command(args, size, steps, folder), *ranks(args, count),
                                   *(["--dit_fsdp", "--t5_fsdp"] if sharded else [])])
            if error:
                measured.add(kind="run", size=size, gpus=count, layout=name, steps=steps, error=error)
                continue
            events = [json.loads(line) for line in out.splitlines()]
            done = next(event for event in events if event["event"] == "finished")
            phases = {phase["phase"]: phase["seconds"] for phase in done["phases"]}
            moments = [(event["phase"], event["seconds"]) for event in events if event["event"] == "progress" and "step" in event]
            # Of each phase the first step also pays for what it uses for the first time.
            took = [later[1] - earlier[1] for earlier, later in zip(moments, moments[1:]) if earlier[0] == later[0]]
            measured.add(kind="run", size=size, gpus=count, layout=name, steps=steps, seconds=done["seconds"], load=phases.get("load"),
                         step=sorted(took)[len(took) // 2] if took else None, decode=phases.get("decode"),
                         bytes=done.get("peak_device_bytes") or done["peak_host_bytes"])


def official(args, size, count, measured):
    for sharded in (False, True) if count > 1 and args.device == "cuda" else (False,):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [sys.executable, HERE / "vs_official.py", "--official", args.official, "--wan", args.wan, "--task", args.task, "--size", size,
                       "--frame_num", args.frame_num, "--device", args.device, "--gpus", count, "--phases", "forward", "--repeats", args.repeats,
                       "--warmup", args.warmup, "--json", file.name, *(["--fsdp"] if sharded else [])]
            if args.num_layers:
                command += ["--num_layers", args.num_layers]
            _, error = call(command)
            layout = "Ulysses and FSDP" if sharded else "Ulysses"
            if error:
                measured.add(kind="official", size=size, gpus=count, layout=layout, error=error)
                continue
            both = json.loads(Path(file.name).read_text())
        theirs, ours = both["official"]["forward"], both["wan"]["forward"]
        kind = "peak_device_bytes" if args.device == "cuda" else "peak_host_bytes"
        measured.add(kind="official", size=size, gpus=count, layout=layout, seconds=theirs["median_seconds"], ours=ours["median_seconds"],
                     bytes=theirs[kind], our_bytes=ours[kind])


def second_of(pid):
    """The process that mpirun's process `pid` started as rank 1."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and b"OMPI_COMM_WORLD_RANK=1" in (folder / "environ").read_bytes().split(b"\0"):
                if f"WAN_SCALING={pid}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    return int(folder.name)
    return None


def stopped_process(args, size, measured):
    """SIGSTOP, as mpirun itself ends its job where a process is killed; --rank_timeout 10 in place of 300 s."""
    with tempfile.TemporaryDirectory(prefix="wan-scaling-") as folder:
        tag = {"WAN_SCALING": str(os.getpid()), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2",
                   *map(str, generate_command(args, size, 50, folder)), "--rank_timeout", "10"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **tag})
        steps = 0
        for line in process.stdout:
            steps += '"step":' in line
            if steps == 2:
                break
        second = second_of(os.getpid()) if steps == 2 else None
        if second is None:
            process.kill()
            measured.add(kind="stopped", size=size, gpus=2, layout="processes", error="no second process was found")
            return
        start = time.monotonic()
        os.kill(second, signal.SIGSTOP)
        try:
            out, _ = process.communicate(timeout=120)
            measured.add(kind="stopped", size=size, gpus=2, layout="processes", seconds=time.monotonic() - start, status=process.returncode,
                         told=(out.strip().splitlines() or [""])[-1][:400])
        except subprocess.TimeoutExpired:
            process.kill()
            measured.add(kind="stopped", size=size, gpus=2, layout="processes", error="not ended within 120 s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(second, signal.SIGKILL)


def table(head, rows):
    if rows:
        print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        for row in rows:
            print("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |")


def seconds_text(value):
    return None if value is None else f"{value:.3f} s"


def report(args, measured):
    of = lambda kind: [row for row in measured.rows if row["kind"] == kind and not row.get("error")]
    rows = []
    for row in of("bench"):
        one = measured.find(kind="bench", size=row["size"], gpus=1, phase=row["phase"])
        times = one["seconds"] / row["seconds"] if one else None
        over = None if row["gpus"] == 1 or not one else f"{100 * (1 - one['seconds'] / row['gpus'] / row['seconds']):.1f}%"
        rows.append((row["size"], row["phase"], row["gpus"], row["layout"], seconds_text(row["seconds"]),
                     None if row["gpus"] == 1 or times is None else f"1/{times:.2f}", over, f"{row['bytes'] / 1e9:.1f} GB"))
    table(("size", "phase", "GPUs", "layout", "time", "of one GPU's", "more than an equal share", "memory a GPU"), rows)
    table(("size", "GPUs", "weights", "steps", "load", "a step", "decode", "whole run", "memory a GPU"),
          [(row["size"], row["gpus"], row["layout"], row["steps"], seconds_text(row["load"]), seconds_text(row["step"]),
            seconds_text(row["decode"]), seconds_text(row["seconds"]), f"{row['bytes'] / 1e9:.1f} GB") for row in of("run")])
    table(("size", "GPUs", "official", "time", "wan", "ratio", "memory a GPU", "wan's"),
          [(row["size"], row["gpus"], row["layout"] if row["gpus"] > 1 else "one GPU", seconds_text(row["seconds"]), seconds_text(row["ours"]),
            f"{row['seconds'] / row['ours']:.2f}", f"{row['bytes'] / 1e9:.1f} GB", f"{row['our_bytes'] / 1e9:.1f} GB") for row in of("official")])
    for row in of("stopped"):
        print(f"\nA stopped process of two: the other ended {row['seconds']:.1f} s later, status {row['status']}: {row['told']}")
    failed = [row for row in measured.rows if row.get("error")]
    table(("failed", "size", "GPUs", "layout", "error"),
          [(row["kind"], row["size"], row["gpus"], row["layout"], row["error"].replace("|", "/")) for row in failed])
    return 1 if failed else 0


def main():
    args = parse_arguments()
    measured = Measurements(args.json)
    for size in args.sizes:
        for count in args.gpus:
            bench(args, size, count, measured)
            if args.ckpt_dir:
                whole_runs(args, size, count, measured)
            if args.official:
                official(args, size, count, measured)
    if args.kill:
        stopped_process(args, args.sizes[0], measured)
    return report(args, measured)


if __name__ == "__main__":
    sys.exit(main())
