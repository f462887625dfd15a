"""Stages 3 and 4: two transformers, each trained from the start on its own range of noise levels alone."""

import torch

from .dit import Dit, DitConfig, config_of
from .optim import Trainer

SHIFT = 5.0
BOUNDARY = 0.875  # of the noise level: the high-noise expert's share is above
EMPTY_SHARE = 0.1  # of the prompts are replaced by the empty one, for guidance


def sigma_of(u, shift=SHIFT):
    return shift * u / (1 + (shift - 1) * u)


def u_of(sigma, shift=SHIFT):
    return sigma / (shift - (shift - 1) * sigma)


RANGES = {"high": (u_of(BOUNDARY), 1.0), "low": (0.0, u_of(BOUNDARY))}


def make_loss(dit, latents, numbers, table, empty, batch, span, conditions=None):
    """Velocity matching; `span` is the range of u, from which sigma follows by the shift; `conditions`: a clip each."""
    device = latents.device
    steps = torch.arange(batch, device=device)

    def loss_fn():
        pick = torch.randint(len(latents), (batch,), device=device)
        sentence = torch.randint(table.shape[1], (batch,), device=device)
        context = table[numbers[pick], sentence]
        dropped = torch.rand(batch, 1, 1, device=device) < EMPTY_SHARE
        context = torch.where(dropped, empty, context).float()
        clean = latents[pick].float()
        noise = torch.randn_like(clean)
        # One draw in each of `batch` equal parts of the range.
        u = span[0] + (span[1] - span[0]) * (steps + torch.rand(batch, device=device)) / batch
        sigma = sigma_of(u)
        level = sigma.view(-1, 1, 1, 1, 1)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            condition = None if conditions is None else conditions[pick].float()
            velocity = dit((1 - level) * clean + level * noise, 1000 * sigma, context, condition)
        return (velocity.float() - (noise - clean)).square().mean()

    return loss_fn


def train(stage, data, device, log, steps, seconds, peak, batch=128, compiled=True):
    """`stage`: high or low. Returns the averaged weights."""
    torch.manual_seed({"high": 505, "low": 606}[stage])
    dit = Dit(DitConfig()).to(device)
    if compiled and device.type == "cuda":
        for block in dit.blocks:
            block.compile(dynamic=False)
    trainer = Trainer([dit], make_loss(dit, *data, batch, RANGES[stage]), peak, decay=0.01, average=0.999)
    trainer.run(steps, seconds, lambda line: log({"stage": stage, **line}), every=max(1, steps // 10))
    trainer.use_average()
    return {key: value.detach().clone() for key, value in dit.state_dict().items()}


def load(state, device):
    """A transformer with the weights that the checkpoint will hold, rounded to bf16."""
    dit = Dit(config_of(state)).to(device)
    dit.load_state_dict({k: v.bfloat16().float() for k, v in state.items()})
    return dit.eval().requires_grad_(False)
