"""One training step as a CUDA graph (a plain call on a CPU), with AdamW, gradient clipping and averaged weights."""

import math
import time

import torch


def cosine(progress, warmup=0.02, floor=0.01):
    """Share of the peak learning rate at `progress` in 0..1."""
    if progress < warmup:
        return progress / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def training_device():
    """The GPU where there is one, set up for speed."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 5
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trainer:
    """Steps `loss_fn()`, which draws its own data, over the parameters of `modules`."""

    def __init__(self, modules, loss_fn, peak, betas=(0.9, 0.99), decay=0.01, average=0.999, clip=1.0):
        self.params = [p for m in modules for p in m.parameters() if p.requires_grad]
        self.device = self.params[0].device
        self.loss_fn, self.peak, self.clip, self.average = loss_fn, peak, clip, average
        self.lr = torch.zeros((), device=self.device)
        matrices = [p for p in self.params if p.dim() > 1]
        vectors = [p for p in self.params if p.dim() <= 1]
        cuda = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.lr, betas=betas, eps=1e-10, capturable=cuda, fused=cuda)
        self.averaged = [p.detach().clone() for p in self.params]
        self.loss = None
        self.graph = None

    def once(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_fn()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, self.clip, foreach=True)
        self.optimizer.step()
        torch._foreach_lerp_(self.averaged, [p.detach() for p in self.params], 1 - self.average)
        return loss.detach()

    def capture(self):
        """Warms up at learning rate 0 on a side stream, then records the step."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.once()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.once()

    def step(self):
        if self.graph is None:
            self.loss = self.once()
        else:
            self.graph.replay()

    def run(self, steps, seconds, log, every=500, check=None):
        """`steps` steps over one cosine; a machine too slow for them ends the cosine at `seconds`.

        `log(dict)` gets a line each `every` steps, with what `check()` adds.
        """
        start = time.time()
        if self.device.type == "cuda" and self.graph is None:
            self.capture()
        begun = time.time()
        log({"ready_after": round(begun - start, 1)})
        for step in range(steps):
            progress = step / steps
            if step % 50 == 0:
                if self.graph is not None:
                    torch.cuda.synchronize()  # replays queue up: the clock must not run ahead of them
                progress = max(progress, (time.time() - start) / seconds)
                if progress >= 1:
                    log({"out_of_time_at": step})
                    break
            self.lr.fill_(self.peak * cosine(progress))
            self.step()
            if (step + 1) % every == 0 or step + 1 == steps:
                value = self.loss.item()
                line = {"step": step + 1, "loss": round(value, 5), "seconds": round(time.time() - start, 1),
                        "ms_a_step": round(1000 * (time.time() - begun) / (step + 1), 2)}
                line.update(check() if check else {})
                log(line)
                if not math.isfinite(value):
                    raise FloatingPointError(f"the loss is {value} at step {step + 1}")

    def prepare(self):
        """Makes the step ready and the optimizer's state real, without learning: then `restore` can fill them in place."""
        self.lr.zero_()
        if self.device.type == "cuda":
            self.capture()
        else:
            self.once()

    def run_timed(self, seconds, spent, log, keep, stop_at, log_every=20.0, keep_every=60.0):
        """One cosine over `seconds` of steps, `spent` of which lie behind; needs `prepare`. Returns the seconds spent:
        fewer than `seconds` where the clock reached `stop_at` (as time.time()).

        `keep(spent)` saves what is needed to go on, each `keep_every` seconds and at `stop_at`.
        """
        at_once = 50 if self.graph is not None else 1  # steps between two looks at the clock
        begun = kept = logged = time.time()
        steps = 0
        while True:
            if self.graph is not None:
                torch.cuda.synchronize()  # replays queue up: the clock must not run ahead of them
            now = time.time()
            done = spent + now - begun
            last = done >= seconds or now >= stop_at
            if steps and (last or now - logged >= log_every):
                logged, value = now, self.loss.item()
                log({"seconds": round(done, 1), "step": steps, "loss": round(value, 5),
                     "ms_a_step": round(1000 * (now - begun) / steps, 2)})
                if not math.isfinite(value):
                    raise FloatingPointError(f"the loss is {value}")
            if done < seconds and (last or now - kept >= keep_every):
                keep(done)
                kept = now
            if last:
                return done
            self.lr.fill_(self.peak * cosine(done / seconds))
            for _ in range(at_once):
                self.step()
            steps += at_once

    def state(self):
        """{"weights", "average", "moments"}, each a dict of tensors by number; the moments in bf16."""
        moments = [self.optimizer.state[p] for p in self.params]
        named = {f"{i}.{key}": m[key].bfloat16() for i, m in enumerate(moments) for key in ("exp_avg", "exp_avg_sq")}
        named["steps"] = moments[0]["step"].reshape(1)
        return {"weights": {str(i): p.detach() for i, p in enumerate(self.params)},
                "average": {str(i): p for i, p in enumerate(self.averaged)}, "moments": named}

    @torch.no_grad()
    def restore(self, state):
        """Fills in a `state`, after `prepare`."""
        for i, (parameter, average) in enumerate(zip(self.params, self.averaged)):
            parameter.copy_(state["weights"][str(i)])
            average.copy_(state["average"][str(i)])
            own = self.optimizer.state[parameter]
            for key in ("exp_avg", "exp_avg_sq"):
                own[key].copy_(state["moments"][f"{i}.{key}"])
            own["step"].fill_(state["moments"]["steps"].item())

    @torch.no_grad()
    def use_average(self):
        for parameter, value in zip(self.params, self.averaged):
            parameter.copy_(value)
