"""A run of an official pipeline with every intermediate value recorded."""

import copy
import inspect
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Request:
    task: str
    prompt: str
    negative_prompt: str
    image: str | None  # file
    size: tuple  # (width, height) in pixels; with an image, their product is the area and the image gives the aspect
    frame_num: int
    sample_solver: str
    sample_steps: int
    sample_shift: float
    guide_low: float
    guide_high: float
    boundary: float | None  # None where one model does all steps
    fps: int
    base_seed: int


def resolve_request(task, ckpt_dir, prompt, base_seed, image=None, **given):
    """Values given (not None), else the directory's generation_config.json, else the official constants."""
    if task.image != "optional" and (image is not None) != (task.image == "always"):
        raise SystemExit(f"{task.name}: an image is {task.image} taken")
    path = Path(ckpt_dir) / "generation_config.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    config = task.config

    def pick(name, default):
        value = given.get(name)
        return stored.get(name, default) if value is None else value

    size = pick("size", task.size).replace("*", "x").split("x")
    guide = pick("sample_guide_scale", config.sample_guide_scale)
    low, high = guide if isinstance(guide, (list, tuple)) else (guide, guide)
    if len(task.models) == 1 and low != high:
        raise SystemExit(f"{task.name}: one guidance scale, not {low} and {high}")
    boundary = pick("boundary", config.get("boundary"))
    return Request(
        task=task.name, prompt=prompt, negative_prompt=pick("negative_prompt", config.sample_neg_prompt),
        image=None if image is None else str(image), size=(int(size[0]), int(size[1])),
        frame_num=pick("frame_num", config.frame_num), sample_solver=pick("sample_solver", "unipc"),
        sample_steps=pick("sample_steps", config.sample_steps), sample_shift=float(pick("sample_shift", config.sample_shift)),
        guide_low=float(low), guide_high=float(high), boundary=None if boundary is None else float(boundary),
        fps=stored.get("fps", config.sample_fps), base_seed=base_seed)


def load_pipeline(task, ckpt_dir, boundary):
    """The task's official pipeline on the CPU, all weights in fp32."""
    config = copy.deepcopy(task.config)
    config.update(t5_dtype=torch.float32, param_dtype=torch.float32, boundary=boundary)
    return task.pipeline(config, str(ckpt_dir), init_on_cpu=False)


def generate(pipeline, request):
    """The pipeline's own generate(): frames [3, F, H, W] in [-1, 1]."""
    pipeline.sample_neg_prompt = request.negative_prompt  # what generate() takes for an empty n_prompt
    an_expert = isinstance(pipeline.config.sample_guide_scale, tuple)
    offered = dict(
        img=Image.open(request.image).convert("RGB") if request.image else None, size=request.size,
        max_area=request.size[0] * request.size[1], frame_num=request.frame_num, shift=request.sample_shift,
        sample_solver=request.sample_solver, sampling_steps=request.sample_steps,
        guide_scale=(request.guide_low, request.guide_high) if an_expert else request.guide_low,
        n_prompt=request.negative_prompt, seed=request.base_seed, offload_model=False)
    taken = inspect.signature(pipeline.generate).parameters
    return pipeline.generate(request.prompt, **{name: value for name, value in offered.items() if name in taken})


def frames_to_bytes(official, video, fps):
    """[F, H, W, 3] uint8: what the official save_video hands to the encoder."""
    frames = []

    class Collector:
        def append_data(self, frame):
            frames.append(np.array(frame))

        def close(self):
            pass

    with mock.patch.object(official.utils.imageio, "get_writer", lambda *_, **__: Collector()):
        official.utils.save_video(video[None].clone(), save_file="unused", fps=fps, nrow=1, normalize=True,
                                  value_range=(-1, 1))
    if len(frames) != video.shape[1]:
        raise RuntimeError(f"save_video handed over {len(frames)} of {video.shape[1]} frames")
    return np.stack(frames)


class CallRecorder:
    """Stands in for a callable object: passes calls on, and hands arguments and result to `record`."""

    def __init__(self, inner, record):
        self.inner = inner
        self.record = record

    def __call__(self, *args, **kwargs):
        result = self.inner(*args, **kwargs)
        self.record(args, result)
        return result

    def __getattr__(self, name):
        return getattr(self.inner, name)


class ClipRecording:
    """A run of clips; arrays: name, clip_RR_NAME of what belongs to a clip -> NumPy array, the first of each name."""

    def __init__(self):
        self.arrays = {}
        self.clip = -1  # before the first clip's noise
        self.texts = iter(("prompt", "negative"))
        self.unfinished = None  # name of the latent that the last step leaves

    def keep(self, name, value):
        value = value.detach().numpy() if torch.is_tensor(value) else value
        self.arrays.setdefault(name, np.ascontiguousarray(value).copy())

    def keep_clip(self, name, value, clip=None):
        self.keep(f"clip_{self.clip if clip is None else clip:02d}_{name}", value)

    def after_noise(self, _args, result):
        self.clip += 1
        self.step = 0
        self.outputs = []
        self.keep_clip("noise", result)

    def after_model(self, _module, _args, output):
        self.outputs.append(output[0])

    def watched(self, scheduler_class):
        def build(**kwargs):
            scheduler = scheduler_class(**kwargs)
            scheduler.step = CallRecorder(scheduler.step, self.after_step)
            return scheduler
        return build

    def after_step(self, _args, _result):
        prefix = f"step_{self.step:02d}_"
        for name, output in zip(("cond", "uncond"), self.outputs):
            self.keep_clip(prefix + name, output)
        self.unfinished = prefix + "latent"
        self.outputs.clear()
        self.step += 1

    def finish_step(self, latent):
        if self.unfinished:
            self.keep_clip(self.unfinished, latent)
        self.unfinished = None


class Recording:
    """arrays: file name (without .npy) -> NumPy array, in the order of their making."""

    def __init__(self, official, pipeline, request, noise=None):
        self.official = official
        self.task = official.tasks[request.task]
        self.pipeline = pipeline
        self.request = request
        self.noise = noise
        self.arrays = {}
        self.experts = []  # which expert ran each step
        self.texts = iter(("prompt", "negative"))
        self.step = 0
        self.outputs = []
        self.encoded = None  # the image's latents
        self.unfinished = None  # name of the latent that the last step leaves
        self.digits = max(2, len(str(request.sample_steps - 1)))

    def keep(self, name, value):
        self.arrays[name] = np.ascontiguousarray(value.detach().numpy() if torch.is_tensor(value) else value).copy()

    def run(self):
        with self.listening():
            video = generate(self.pipeline, self.request)
        self.keep("frames_float", video)
        self.keep("frames", frames_to_bytes(self.official, video, self.request.fps))
        return video

    @contextmanager
    def listening(self):
        pipe, module = self.pipeline, self.task.module
        encoder = pipe.text_encoder
        hooks = [getattr(pipe, name).register_forward_hook(self.after_model(name), with_kwargs=True)
                 for name in self.task.models]
        with (mock.patch.object(encoder, "tokenizer", CallRecorder(encoder.tokenizer, self.after_tokenizer)),
              mock.patch.object(pipe, "text_encoder", CallRecorder(encoder, self.after_encoder)),
              mock.patch.object(pipe.vae, "encode", CallRecorder(pipe.vae.encode, self.after_encode)),
              mock.patch.object(pipe.vae, "decode", CallRecorder(pipe.vae.decode, self.after_decode)),
              mock.patch.object(module.torch, "randn", self.draw_noise),
              mock.patch.object(module, "FlowUniPCMultistepScheduler", self.watched(
                  module.FlowUniPCMultistepScheduler)),
              mock.patch.object(module, "FlowDPMSolverMultistepScheduler", self.watched(
                  module.FlowDPMSolverMultistepScheduler))):
            yield
        for hook in hooks:
            hook.remove()

    def after_tokenizer(self, _args, result):
        self.text = next(self.texts)
        self.text_tokens = int(result[1].sum())
        self.keep(f"tokens_{self.text}", result[0])
        self.keep(f"mask_{self.text}", result[1])

    def after_encoder(self, _args, result):
        self.keep(f"context_{self.text}", result[0])

    def after_encode(self, args, result):
        self.keep("image", args[0][0][:, 0])
        self.encoded = result[0]

    def draw_noise(self, *shape, **kwargs):
        drawn = torch.randn(*shape, **kwargs)
        if self.noise is not None:
            if tuple(self.noise.shape) != tuple(drawn.shape):
                raise SystemExit(f"--noise: expected shape {tuple(drawn.shape)}, got {tuple(self.noise.shape)}")
            drawn = torch.from_numpy(self.noise).float().clone()
        self.keep("noise", drawn)
        return drawn

    def watched(self, scheduler_class):
        def build(**kwargs):
            scheduler = scheduler_class(**kwargs)
            scheduler.step = CallRecorder(scheduler.step, lambda args, result: self.after_step(scheduler, args, result))
            return scheduler
        return build

    def after_model(self, name):
        def record(_module, args, kwargs, output):
            if self.encoded is not None and "condition" not in self.arrays:
                self.keep("condition", kwargs["y"][0] if "y" in kwargs else self.encoded)
            self.expert = name
            self.input = args[0][0]
            self.finish_step(self.input)
            self.outputs.append(output[0])
        return record

    def finish_step(self, latent):
        """What leaves a step is what enters the next one, or the decoder: after the solver, TI2V pins the first frame."""
        if self.unfinished:
            self.keep(self.unfinished, latent)
        self.unfinished = None

    def after_step(self, scheduler, args, _result):
        guided, timestep = args[0], args[1]
        if self.step == 0:
            self.keep("timesteps", scheduler.timesteps)
            self.keep("sigmas", scheduler.sigmas)
        prefix = f"step_{self.step:0{self.digits}d}_"
        self.keep(prefix + "input", self.input)
        self.keep(prefix + "timestep", timestep.reshape(1))
        self.keep(prefix + "cond", self.outputs[0])
        self.keep(prefix + "uncond", self.outputs[1])
        self.keep(prefix + "guided", guided[0])
        self.unfinished = prefix + "latent"
        self.experts.append(self.expert)
        self.outputs.clear()
        self.step += 1

    def after_decode(self, args, _result):
        self.finish_step(args[0][0])
        self.keep("latents", args[0][0])

    def manifest(self):
        return {"producer": "reference", "request": asdict(self.request), "rng": "torch-cpu", "precision": "fp32",
                "experts": self.experts,
                "files": {name: {"dtype": str(array.dtype), "shape": list(array.shape)}
                          for name, array in self.arrays.items()}}
