"""Speed of the audio encoder on the CPU at the published size, random weights, with transformers beside it: turns about, a process each.

    venv/bin/python bench/speech_encoder.py build/bench/speech_encoder [--seconds 10] [--threads 2] [--rounds 12]

Needs torch and transformers. Prints of each how many times real time its passes were: median, slowest and fastest. A pass of
transformers gives every layer's output, as speech to video wants them.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time

RATE, PASSES = 16000, 3


def run_transformers(seconds, threads):
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.set_num_threads(threads)
    config = Wav2Vec2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, conv_bias=True,
                            feat_extract_norm="layer", do_stable_layer_norm=True, attn_implementation="sdpa")
    model = Wav2Vec2Model(config).eval()
    samples = torch.randn(1, int(seconds * RATE))
    with torch.inference_mode():
        for _ in range(PASSES):
            begun = time.perf_counter()
            model(samples, output_hidden_states=True)
            print(f"{time.perf_counter() - begun:.3f} s, ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="build/bench/speech_encoder")
    parser.add_argument("--seconds", type=float, default=10, help="of sound")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="processes of each, of three passes")
    parser.add_argument("--transformers", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.transformers:
        return run_transformers(args.seconds, args.threads)
    numbers = [f"{args.seconds:g}", str(args.threads)]
    commands = {"wan": [args.program, numbers[0], "cpu", numbers[1]],
                "transformers": [sys.executable, __file__, "--transformers", "--seconds", numbers[0], "--threads", numbers[1]]}
    times = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            times[name] += [float(text) for text in re.findall(r"([\d.]+) s, ", printed)]
    for name, found in times.items():
        rates = [args.seconds / value for value in found]
        print(f"{name}: {statistics.median(rates):.1f}; {min(rates):.1f}, {max(rates):.1f} times real time, {len(rates)} passes")


if __name__ == "__main__":
    main()
