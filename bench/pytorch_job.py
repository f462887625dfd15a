"""One text-to-video job in PyTorch on the CPU, timed by phase; what bench/vs_pytorch.py starts for each repeat.

With --wan_dir the official Wan2.2 code runs (fp32, tools/golden/official.py), without it the PyTorch modules of
tools/demo_model with diffusers' UniPC and DPM++. Prints one JSON object: seconds of "import", "load", "text", "high_noise",
"low_noise", "decode" and "encode".
"""

import time

START = time.perf_counter()

import argparse
import json
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class PhaseTimes:
    """Seconds by phase; a phase entered again adds to its time."""

    def __init__(self):
        self.seconds = defaultdict(float)

    @contextmanager
    def phase(self, name):
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def official_job(args, times):
    sys.path.insert(0, str(ROOT / "tools" / "golden"))
    import torch
    import generation
    from official import load_official
    official = load_official(args.wan_dir)
    times.seconds["import"] = time.perf_counter() - START
    torch.set_num_threads(args.threads)
    task = official.tasks["t2v-A14B"]
    request = generation.resolve_request(task, args.ckpt_dir, args.prompt, args.base_seed, **settings_of(args))
    with torch.inference_mode():
        with times.phase("load"):
            pipeline = generation.load_pipeline(task, args.ckpt_dir, request.boundary)
        time_official_phases(task, pipeline, times)
        video = generation.generate(pipeline, request)
        if args.frames:
            save_frames(args.frames, video)
        with times.phase("encode"):
            official.utils.save_video(video[None], save_file=str(args.save_file), fps=request.fps, nrow=1, normalize=True,
                                      value_range=(-1, 1))


def time_official_phases(task, pipeline, times):
    """Times the pipeline's calls from outside: a step lasts from the first model's call to the scheduler's return."""
    def timed(function, name):
        def call(*args, **kwargs):
            with times.phase(name):
                return function(*args, **kwargs)
        return call

    class TimedEncoder:
        def __init__(self, inner):
            self.inner = inner

        def __call__(self, *args):
            with times.phase("text"):
                return self.inner(*args)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    step = {}

    def begin_step(name):
        def hook(_module, _args):
            step.setdefault("name", name)
            step.setdefault("start", time.perf_counter())
        return hook

    def with_timed_step(scheduler_class):
        def build(**kwargs):
            scheduler = scheduler_class(**kwargs)
            inner = scheduler.step

            def take_step(*args, **kwargs):
                result = inner(*args, **kwargs)
                times.seconds[step.pop("name")] += time.perf_counter() - step.pop("start")
                return result

            scheduler.step = take_step
            return scheduler
        return build

    pipeline.text_encoder = TimedEncoder(pipeline.text_encoder)
    pipeline.vae.decode = timed(pipeline.vae.decode, "decode")
    for name in ("high_noise", "low_noise"):
        getattr(pipeline, f"{name}_model").register_forward_pre_hook(begin_step(name))
    for name in ("FlowUniPCMultistepScheduler", "FlowDPMSolverMultistepScheduler"):
        setattr(task.module, name, with_timed_step(getattr(task.module, name)))


def own_job(args, times):
    sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
    import imageio
    import torch
    import own_pipeline
    times.seconds["import"] = time.perf_counter() - START
    torch.set_num_threads(args.threads)
    request = own_pipeline.resolve_request(args.ckpt_dir, args.prompt, args.base_seed, **settings_of(args))
    with torch.inference_mode():
        with times.phase("load"):
            models = own_pipeline.load(args.ckpt_dir)
        video = own_pipeline.generate(models, request, times)
        if args.frames:
            save_frames(args.frames, video)
        with times.phase("encode"):
            with imageio.get_writer(args.save_file, fps=request.fps, codec="libx264", quality=8) as writer:
                for frame in to_levels(video):
                    writer.append_data(frame)


def to_levels(video):
    """[3, F, H, W] in [-1, 1] -> [F, H, W, 3] uint8, truncated."""
    import torch
    return ((video.clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous().numpy()


def save_frames(path, video):
    import numpy
    numpy.save(path, to_levels(video))


def settings_of(args):
    return {name: getattr(args, name) for name in ("size", "frame_num", "sample_solver", "sample_steps", "sample_shift")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir")
    parser.add_argument("--ckpt_dir", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--save_file", type=Path, required=True)
    parser.add_argument("--frames", type=Path, help="write the frames as .npy as well; for the uncounted round")
    parser.add_argument("--base_seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--size")
    parser.add_argument("--frame_num", type=int)
    parser.add_argument("--sample_solver")
    parser.add_argument("--sample_steps", type=int)
    parser.add_argument("--sample_shift", type=float)
    args = parser.parse_args()
    times = PhaseTimes()
    (official_job if args.wan_dir else own_job)(args, times)
    if not args.save_file.is_file():
        sys.exit(f"{args.save_file} was not written")
    print(json.dumps(times.seconds))


if __name__ == "__main__":
    main()
