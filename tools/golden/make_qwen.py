#!/usr/bin/env python3
"""Golden files of the language models that extend prompts: tests/golden/qwen, from transformers' Qwen2 and Llama.

    venv/bin/python tools/golden/make_qwen.py [OUT]

tokenizers/NAME.json  small byte-level tokenizers, trained on the prompts of tests/golden/text: "qwen" cuts text as Qwen2.5 does,
                      "digits" as SmolLM2
ids.json              NAME -> ids of each of these prompts, in their order; "decoded" -> text of some ids again
models/NAME/          config.json, generation_config.json and model.safetensors of a small random model; that of "llama" goes with
                      the tokenizer "qwen"
models/NAME.safetensors
    ids        [n] tokens of a prompt
    logits     [steps + 1, vocabulary] scores behind the prompt, then behind each further token of `greedy`
    greedy     [steps] what generate() answers without sampling, with the model's repetition penalty
    layers.N   [n, dim] the residual stream after layer N, of the prompt; of "qwen" one layer
models/vl.safetensors
    picture    [40, 56, 3] a picture; pixels: its patches as the image processor cuts them, row after row of merged patches
    tokens     [35, dim] what the vision tower makes of them
    ids        a prompt with one token for the picture; greedy, logits: as above
    resized.N  the picture as Pillow resizes it, bicubic
    sizes      [n, 6] a picture's width and height, those that it is resized to, and the least and the most tokens
sampling.safetensors
    CASE.logits, CASE.ids, CASE.settings (penalty, temperature, top_k, top_p) and CASE.scores, what generate() draws from
"""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, LogitsProcessorList, Qwen2_5_VLConfig,
                          Qwen2_5_VLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast,
                          Qwen2VLImageProcessor, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
                          TopKLogitsWarper, TopPLogitsWarper)
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

ROOT = Path(__file__).resolve().parents[2]
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def prompts():
    texts = [entry[0] for entry in json.loads((ROOT / "tests/golden/text/prompts.json").read_text())["prompts"]]
    turns = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nA cat<|im_end|>\n<|im_start|>assistant\n"
    return texts + [turns, "it'S WE'LL ﬁne don’t I'ſ", "a\u000bb\u0085c\u1680d\u2028e", "12345 ¾ ⅫⅢ ٣٤", "<tool_call> x",
                    "e\u0301 \u212b \ufb01", " \n \n  x\t\t\n", "a" * 300, "!!!???…\r\n\r\n--", "日本語テキスト。猫が走る",
                    "🐱‍👤👩🏽‍🚀 x", "\u0000\u0001\u007f", ""]


def train(texts, pre, normalizer):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=520, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return tokenizer


def make_tokenizers(out):
    texts = prompts()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made = {
        "qwen": train(texts, pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(WORDS), behavior="isolated"), byte_level]), normalizers.NFC()),
        "digits": train(texts, pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), None),
    }
    ids = {"extra": texts[len(texts) - 13:]}
    (out / "tokenizers").mkdir(parents=True, exist_ok=True)
    for name, tokenizer in made.items():
        path = out / "tokenizers" / f"{name}.json"
        tokenizer.save(str(path), pretty=False)
        fast = Qwen2TokenizerFast(tokenizer_file=str(path))
        ids[name] = [fast(text)["input_ids"] for text in texts]
        some = [row[start:] for row in ids[name][::5] for start in (0, 1, 2)]
        ids[name + ".decoded"] = [[row, fast.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)]
                                  for row in some[::7]]
    (out / "ids.json").write_text(json.dumps(ids, ensure_ascii=False, separators=(",", ":")) + "\n")


def random_model(make, config, seed):
    """No parameter is zero or one throughout, and queries and keys have large gains."""
    torch.manual_seed(seed)
    model = make(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.5 if "q_proj.weight" in name or "k_proj.weight" in name else 1.0
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name))
            else:
                parameter.copy_(torch.randn_like(parameter) * scale / parameter.shape[1] ** 0.5)
    return model


MODELS = {
    "qwen": (Qwen2ForCausalLM, Qwen2Config(
        vocab_size=100, hidden_size=36, intermediate_size=40, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=False,
        max_position_embeddings=512, eos_token_id=99, bos_token_id=99)),
    "llama": (LlamaForCausalLM, LlamaConfig(
        vocab_size=528, hidden_size=30, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, rope_theta=10000.0, rms_norm_eps=1e-5, tie_word_embeddings=True,
        max_position_embeddings=4096, eos_token_id=522, bos_token_id=520)),
}


def save_half(model, folder):
    """Rounds the weights to fp16, which the file holds; `model` goes on in fp32. A copy is saved: buffers stay as exact as they are."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    copy.deepcopy(model).half().save_pretrained(folder)


def make_models(out):
    steps = 12
    for seed, (name, (make, config)) in enumerate(MODELS.items()):
        model = random_model(make, config, seed)
        model.generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.3,
                                       eos_token_id=[config.eos_token_id, 3])
        save_half(model, out / "models" / name)
        ids = torch.randint(5, config.vocab_size - 5, (1, 70 if name == "qwen" else 9))
        with torch.no_grad():
            answer = model.generate(ids, do_sample=False, max_new_tokens=steps, eos_token_id=None, temperature=None,
                                    top_k=None, top_p=None)[0, ids.shape[1]:]
            states = []
            hooks = [layer.register_forward_hook(lambda _, __, output: states.append(output[0][0]))
                     for layer in model.model.layers]
            model(ids)
            for hook in hooks:
                hook.remove()
            all_logits = model(torch.cat([ids, answer[None]], 1)).logits[0, ids.shape[1] - 1:]
        arrays = {"ids": ids[0], "greedy": answer, "logits": all_logits}
        arrays.update({f"layers.{i}": state for i, state in enumerate(states) if name == "llama" or i == 1})
        save_file({key: value.contiguous() for key, value in arrays.items()}, out / "models" / f"{name}.safetensors")


def make_vision(out):
    """A picture of 5 x 7 merged patches, so that windows at its edges are cut, in a model of two windowed layers round a whole one."""
    vision = {"depth": 3, "hidden_size": 24, "num_heads": 3, "intermediate_size": 20, "out_hidden_size": 24, "patch_size": 4,
              "spatial_merge_size": 2, "spatial_patch_size": 4, "temporal_patch_size": 2, "window_size": 24, "in_chans": 3,
              "in_channels": 3, "hidden_act": "silu", "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(
        vocab_size=90, hidden_size=24, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True,
        max_position_embeddings=512, eos_token_id=89, image_token_id=80, vision_start_token_id=81, vision_end_token_id=82,
        video_token_id=83, rope_scaling={"type": "mrope", "mrope_section": [2, 2, 2]}, vision_config=vision,
        attn_implementation="eager")
    model = random_model(Qwen2_5_VLForConditionalGeneration, config, 5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "patch_embed" in name:
                parameter.mul_(0.3)
    save_half(model, out / "models" / "vl")
    saved = json.loads((out / "models/vl/config.json").read_text())
    assert saved["vision_config"]["window_size"] == 24, saved
    generator = torch.Generator().manual_seed(3)
    picture = torch.randint(0, 256, (40, 56, 3), generator=generator, dtype=torch.uint8)
    processor = Qwen2VLImageProcessor(patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=64, max_pixels=40 * 56)
    seen = processor(Image.fromarray(picture.numpy()), return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, 10, 14]]
    before, behind = [5, 6, 7, 81], [82, 9, 10, 11]
    ids = torch.tensor([before + [80] * 35 + behind])
    steps = 6
    with torch.no_grad():
        tokens = model.visual(seen["pixel_values"], grid_thw=seen["image_grid_thw"])
        answer = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **seen, do_sample=False,
                                max_new_tokens=steps, eos_token_id=None)[0, ids.shape[1]:]
        logits = model(input_ids=torch.cat([ids, answer[None]], 1), **seen).logits[0, ids.shape[1] - 1:]
    sizes = [(w, h, *smart_resize(h, w, factor=28, min_pixels=low * 784, max_pixels=high * 784)[::-1], low, high)
             for w, h in [(640, 480), (1920, 1080), (5000, 4000), (100, 4000), (28, 28), (42, 70), (1000, 999)]
             for low, high in [(4, 16384), (256, 1280)]]
    resized = {f"resized.{i}": torch.from_numpy(np.array(Image.fromarray(picture.numpy()).resize(size, Image.BICUBIC)))
               for i, size in enumerate([(23, 17), (70, 31)])}
    save_file({"picture": picture, "pixels": seen["pixel_values"].contiguous(), "tokens": tokens,
               "ids": torch.tensor(before + [80] + behind), "greedy": answer, "logits": logits.contiguous(),
               "sizes": torch.tensor(sizes), **resized}, out / "models" / "vl.safetensors")


def make_sampling(out):
    torch.manual_seed(9)
    cases = {"text": (1.05, 0.7, 20, 0.8), "all": (1.3, 1.0, 0, 1.0), "narrow": (1.05, 0.1, 1, 0.001),
             "few": (1.1, 2.0, 5, 0.5), "nucleus": (1.0, 1.0, 0, 0.3), "wide": (1.2, 0.9, 1000, 0.99)}
    arrays = {}
    for name, (penalty, temperature, top_k, top_p) in cases.items():
        logits = torch.randn(1, 97) * 3
        logits[0, 40:44] = logits[0, 40]  # equal ones, which top-k keeps together
        ids = torch.randint(0, 97, (1, 30))
        steps = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)])
        if top_k:
            steps.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            steps.append(TopPLogitsWarper(top_p))
        arrays.update({f"{name}.logits": logits[0].clone(), f"{name}.ids": ids[0],
                       f"{name}.settings": torch.tensor([penalty, temperature, top_k, top_p], dtype=torch.float64),
                       f"{name}.scores": steps(ids, logits.clone())[0]})
    save_file(arrays, out / "sampling.safetensors")


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/golden/qwen"
    out.mkdir(parents=True, exist_ok=True)
    make_tokenizers(out)
    make_models(out)
    make_vision(out)
    make_sampling(out)


if __name__ == "__main__":
    main()
