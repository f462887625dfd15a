"""Stage 1: the text encoder learns to tell every attribute of the scene at every token."""

import random

import torch
import torch.nn.functional as F
from torch import nn

from . import prompts, world
from .optim import Trainer
from .text_encoder import TextConfig, TextEncoder, encode_prompts

LENGTH = 63  # tokens a training prompt may have; with the one row for all the empty positions, 64 keys
FIELDS = (("colour", world.COLOURS), ("shape", world.SHAPES), ("direction", tuple(world.DIRECTIONS)),
          ("background", world.BACKGROUNDS))


def labels(scenes):
    return torch.tensor([[values.index(getattr(s, name)) for name, values in FIELDS] for s in scenes])


def tokenized(tokenizer, sentences, device):
    ids, mask = tokenizer(sentences, LENGTH)
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def sentences_for(scenes, per_scene, seed, write=prompts.training_prompt):
    """`per_scene` sentences for each scene, in the scenes' order."""
    rng = random.Random(seed)
    return [write(scene, rng) for scene in scenes for _ in range(per_scene)]


def right_share(encoder, head, tokenizer, pairs, device):
    """Share of (scene, sentence) pairs of which all attributes are read right, from the mean over tokens."""
    ids, mask = tokenized(tokenizer, [s for _, s in pairs], device)
    truth = labels([s for s, _ in pairs]).to(device)
    with torch.no_grad():
        logits = head(encoder(ids, mask)) * mask[..., None]
    logits = logits.sum(1).split([len(v) for _, v in FIELDS], dim=-1)
    guess = torch.stack([part.argmax(-1) for part in logits], dim=1)
    return (guess == truth).all(1).float().mean().item()


def unseen_patterns(count, seed):
    rng = random.Random(seed)
    scenes = world.all_scenes()
    for i in range(count):
        scene = rng.choice(scenes)
        pattern = prompts.HELD_OUT_PATTERNS[i % len(prompts.HELD_OUT_PATTERNS)]
        yield scene, prompts.dress(prompts.fill(pattern, scene, rng), rng)


def train(tokenizer, device, log, steps, seconds, per_scene=400, batch=512):
    torch.manual_seed(101)
    scenes, unseen = world.split_scenes()
    encoder = TextEncoder(TextConfig()).to(device)
    head = nn.Linear(encoder.config.dim, sum(len(v) for _, v in FIELDS)).to(device)
    ids, mask = tokenized(tokenizer, sentences_for(scenes, per_scene, seed=1), device)
    truth = labels(scenes).to(device).repeat_interleave(per_scene, dim=0)
    vocab = encoder.config.vocab

    def loss_fn():
        pick = torch.randint(len(ids), (batch,), device=device)
        seen = mask[pick]
        tokens = ids[pick]
        # Some pieces become any other: words never met must not shake the rest of the sentence.
        wrong = (torch.rand(tokens.shape, device=device) < 0.04) & (tokens > 2)
        tokens = torch.where(wrong, torch.randint(2, vocab, tokens.shape, device=device), tokens)
        logits = head(encoder(tokens, seen)).split([len(v) for _, v in FIELDS], dim=-1)
        total = 0.0
        for field, part in enumerate(logits):
            target = truth[pick, field][:, None].expand(-1, LENGTH)
            total = total + (F.cross_entropy(part.transpose(1, 2), target, reduction="none") * seen).sum()
        return total / seen.sum()

    rng = random.Random(7)
    known = [(s, prompts.training_prompt(s, rng)) for s in rng.choices(unseen, k=600)]
    new = list(unseen_patterns(600, seed=77))

    def check():
        return {"unseen_scenes": round(right_share(encoder, head, tokenizer, known, device), 4),
                "unseen_patterns": round(right_share(encoder, head, tokenizer, new, device), 4)}

    trainer = Trainer([encoder, head], loss_fn, peak=2e-3, decay=0.02, average=0.998)
    trainer.run(steps, seconds, log, every=max(1, steps // 6), check=check)
    trainer.use_average()
    log({"averaged": True, **check()})
    return encoder


def load(state, device):
    """The encoder with the weights that the checkpoint will hold, rounded to bf16."""
    encoder = TextEncoder(TextConfig()).to(device)
    encoder.load_state_dict({k: v.bfloat16().float() for k, v in state.items()})
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def context_table(encoder, tokenizer, scenes, per_scene, device, write=prompts.training_prompt):
    """[scenes, per_scene, LENGTH, dim] bf16, and the empty prompt's [LENGTH, dim]."""
    sentences = sentences_for(scenes, per_scene, seed=2, write=write)
    rows = []
    for i in range(0, len(sentences), 8192):
        ids, mask = tokenized(tokenizer, sentences[i:i + 8192], device)
        rows.append(encode_prompts(encoder, ids, mask).bfloat16())
    table = torch.cat(rows).unflatten(0, (len(scenes), per_scene))
    empty = encode_prompts(encoder, *tokenized(tokenizer, [""], device)).bfloat16()[0]
    return table, empty
