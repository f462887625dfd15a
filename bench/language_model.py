#!/usr/bin/env python3
"""Speed of the language model that extends prompts, on random weights of Qwen2.5's size, with transformers beside it on the same GPU.

    venv/bin/python bench/language_model.py build/tests/tools/ask_model FOLDER [--size 7B] [--device cuda] [--without_transformers]

Makes FOLDER (7B: 15 GB) where it is not there. Prints, for a prompt of about 1,500 tokens and 128 more, as a process's first question and
the same again: seconds until the first token (the prompt), tokens a second after it, and the memory rate that the weights read by each
token imply. Of transformers the second time is printed. Random weights end no answer early
often; the answer is as long as it is. transformers (torch, bf16, sdpa) runs greedily, without a compiler.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"3B": (2048, 36, 16, 2, 11008, 151936, True), "7B": (3584, 28, 28, 4, 18944, 152064, False),
         "14B": (5120, 48, 40, 8, 13824, 152064, False), "tiny": (64, 2, 4, 2, 96, 1000, False)}
TOKENS = 128


def make(folder, size):
    import torch
    from safetensors.torch import save_file

    dim, layers, heads, key_heads, ffn, vocabulary, tied = SIZES[size]
    keys = dim // heads * key_heads
    folder.mkdir(parents=True)
    config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": dim,
              "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": key_heads,
              "intermediate_size": ffn, "vocab_size": vocabulary, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
              "tie_word_embeddings": tied, "max_position_embeddings": 32768, "torch_dtype": "bfloat16", "use_sliding_window": False,
              "eos_token_id": vocabulary - 1, "bos_token_id": vocabulary - 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": vocabulary - 1}))
    shutil.copy(ROOT / "tests/golden/qwen/tokenizers/qwen.json", folder / "tokenizer.json")
    table = torch.randn(1 << 24, generator=torch.Generator().manual_seed(1))

    def matrix(rows, columns):
        """A table of random numbers again and again, whose length no row divides."""
        values = table[: (1 << 24) - 3].repeat(-(-rows * columns // ((1 << 24) - 3)))[: rows * columns]
        return (values.reshape(rows, columns) / columns**0.5).bfloat16()

    index = {}
    def save(name, tensors):
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index.update({key: name for key in tensors})

    outer = {"model.embed_tokens.weight": matrix(vocabulary, dim), "model.norm.weight": torch.ones(dim).bfloat16()}
    if not tied:
        outer["lm_head.weight"] = matrix(vocabulary, dim)
    save("model-outer.safetensors", outer)
    for i in range(layers):
        at = f"model.layers.{i}."
        save(f"model-layer-{i}.safetensors", {
            at + "input_layernorm.weight": torch.ones(dim).bfloat16(), at + "post_attention_layernorm.weight": torch.ones(dim).bfloat16(),
            at + "self_attn.q_proj.weight": matrix(dim, dim), at + "self_attn.q_proj.bias": torch.zeros(dim).bfloat16(),
            at + "self_attn.k_proj.weight": matrix(keys, dim), at + "self_attn.k_proj.bias": torch.zeros(keys).bfloat16(),
            at + "self_attn.v_proj.weight": matrix(keys, dim), at + "self_attn.v_proj.bias": torch.zeros(keys).bfloat16(),
            at + "self_attn.o_proj.weight": matrix(dim, dim), at + "mlp.gate_proj.weight": matrix(ffn, dim),
            at + "mlp.up_proj.weight": matrix(ffn, dim), at + "mlp.down_proj.weight": matrix(dim, ffn)})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def weight_bytes(size):
    """What a token reads: all layers and the head."""
    dim, layers, heads, key_heads, ffn, vocabulary, _ = SIZES[size]
    layer = 2 * dim * dim + 2 * dim * dim // heads * key_heads + 3 * dim * ffn
    return 2 * (layers * layer + vocabulary * dim)


def report(name, size, tokens, first, rest):
    rate = 1 / statistics.median(rest)
    print(f"{name:<13} prompt of {tokens} tokens {first:.3f} s, then {rate:.1f} tokens/s, {rate * weight_bytes(size) * 1e-9:.0f} GB/s of weights")


def time_ours(program, folder, size, device, prompt):
    """Twice in one process: the first question meets kernels that were never run, as a user's does."""
    asked = subprocess.run([program, folder, "Go on.", prompt, str(TOKENS), device, "2"], check=True, capture_output=True)
    answer = json.loads(asked.stdout)
    for name, times in zip(("wan, first", "wan, again"), answer["seconds"]):
        report(name, size, len(answer["ids"]), times[0], [b - a for a, b in zip(times, times[1:])])
    return answer["ids"]


def time_transformers(folder, size, device, ids):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.bfloat16).to(device).eval()
    synchronize = torch.cuda.synchronize if device != "cpu" else lambda: None
    for _ in range(2):  # the first warms up
        times, tokens, cache = [], torch.tensor([ids], device=device), None
        with torch.no_grad():
            for _ in range(TOKENS):
                synchronize()
                start = time.monotonic()
                out = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache, tokens = out.past_key_values, out.logits[:, -1:].argmax(-1)
                tokens.cpu()
                times.append(time.monotonic() - start)
    report("transformers", size, len(ids), times[0], times[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="7B", choices=SIZES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--words", type=int, default=665)
    parser.add_argument("--without_transformers", action="store_true")
    options = parser.parse_args()
    if not options.folder.exists():
        make(options.folder, options.size)
    prompt = " ".join(["a cat in the rain"] * (options.words // 5))
    ids = time_ours(options.program, options.folder, options.size, options.device, prompt)
    if not options.without_transformers:
        time_transformers(options.folder, options.size, options.device, ids)


if __name__ == "__main__":
    main()
