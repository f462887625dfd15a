#!/usr/bin/env python3
"""Golden sounds: files of many formats with the samples that librosa reads from them, wav2vec 2.0 encoders with every hidden
state, and what each frame of a video hears.

    python make_audio.py --wan_dir DIR [--out DIR]   (librosa, soundfile, transformers, torch, ffmpeg: see requirements.txt)

Writes below DIR:
  files/NAME                small sound files, and a video with sound
  sounds.safetensors
    NAME, NAME@START+LEN    float32 [n]: librosa.load(files/NAME, sr=16000[, offset=START, duration=LEN])
    NAME.frames             uint8 [F, H, W, 3]: what ffmpeg shows of a video that is turned or mirrored
  encoders/NAME/            config.json, preprocessor_config.json, model.safetensors as transformers writes them, in bf16
  encoders/NAME.safetensors
    CASE.samples            float32 [n]; of "long", which is "odd" again and again, the n-th time n times as loud, none
    CASE.normalized         float32 [n]: what Wav2Vec2FeatureExtractor makes of them
    CASE.features           float32 [T, channels]: what the convolutions leave
    CASE.state_I            float32 [T, dim]: hidden_states, layers + 1 of them
  features.safetensors
    CASE.states             float32 [layers, T, dim]
    CASE.features           float32 [layers, F, dim]: the official linear_interpolation, 50 to 30 a second
    CASE.heard              float32 [frames, layers, dim]: the official get_audio_embed_bucket_fps at 16 frames a second
    CASE.clips              int64 [1]: its number of clips
    counts                  int64 [N, 4]: states, features, frames a clip, clips; of the same two functions

Of what tests compare, large arrays hold a part of their values (thin.py).

Files that libsndfile does not read (m4a, mp4) are decoded by ffmpeg and given to librosa as WAV in floats.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import tempfile

import librosa
import numpy as np
import soundfile
import thin
import torch
from random_weights import fill
from safetensors.torch import save_file as save_torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC


def sound(rate, seconds, channels, seed):
    """Glides, a burst and noise, float64 [n, channels], below 0.9."""
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    t = np.arange(n) / rate
    left = 0.4 * np.sin(2 * np.pi * (200 + 900 * t) * t) + 0.03 * rng.standard_normal(n)
    left[n // 3: n // 3 + n // 20] += 0.3 * np.sin(2 * np.pi * 1500 * t[: n // 20])
    others = [0.5 * np.roll(left, 7 * c) + 0.05 * np.sin(2 * np.pi * (100 + 130 * c) * t) for c in range(1, channels)]
    return np.stack([left, *others], -1).clip(-0.9, 0.9)


# name: rate, seconds, channels, how soundfile writes it
FILES = {
    "u8_8000.wav": (8000, 0.3, 1, dict(subtype="PCM_U8")),
    "s16_16000.wav": (16000, 0.25, 1, dict(subtype="PCM_16")),
    "s16_44100_stereo.wav": (44100, 0.3, 2, dict(subtype="PCM_16")),
    "s24_48000_stereo.wav": (48000, 0.1, 2, dict(subtype="PCM_24")),
    "s32_22050.wav": (22050, 0.2, 1, dict(subtype="PCM_32")),
    "f32_192000.wav": (192000, 0.05, 1, dict(subtype="FLOAT")),
    "f64_11025.wav": (11025, 0.1, 1, dict(subtype="DOUBLE")),
    "s16_48000_8ch.wav": (48000, 0.05, 8, dict(subtype="PCM_16")),
    "s16_48000_6ch.flac": (48000, 0.1, 6, dict(subtype="PCM_16")),
    "s24_96000.flac": (96000, 0.1, 1, dict(subtype="PCM_24")),
    "mono_16000.ogg": (16000, 1.25, 1, dict(format="OGG", subtype="VORBIS")),
}
# made by ffmpeg from a WAV: arguments; the last is the one in which the sound of librosa is decoded
MADE = {
    "cover_44100.mp3": (44100, 0.4, 2, ["-i", "{cover}", "-map", "0:a", "-map", "1:v", "-c:v", "mjpeg", "-c:a", "libmp3lame",
                                        "-b:a", "64k", "-id3v2_version", "3", "-disposition:v", "attached_pic"]),
    "aac_48000.m4a": (48000, 0.4, 1, ["-c:a", "aac", "-b:a", "64k"]),
    "video_44100.mp4": (44100, 0.5, 2, ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.5", "-map", "1:v", "-map",
                                        "0:a", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]),
}
PARTS = {"s16_44100_stereo.wav": [(0.1, None), (0.05, 0.1), (0.0, 0.1234)], "s16_16000.wav": [(0.2, 5.0)],
         "cover_44100.mp3": [(0.15, 0.2)]}


# EXIF's number of what a player does to it: ffmpeg's display matrix, whose rows are where x and y go
TURNED = {"turned_6.mp4": (0, 1, -1, 0), "turned_3.mp4": (-1, 0, 0, -1), "mirrored_2.mp4": (-1, 0, 0, 1),
          "mirrored_5.mp4": (0, 1, 1, 0)}


def turn(path, matrix):
    """Writes a matrix into the track header of an MP4, in place."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8
    xx, xy, yx, yy = matrix
    values = [xx << 16, xy << 16, 0, yx << 16, yy << 16, 0, 0, 0, 1 << 30]
    data[at: at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(bytes(data))


def upright(frames, matrix):
    """The same of frames [F, H, W, 3]: pixel (x, y) goes to (xx x + yx y, xy x + yy y)."""
    xx, xy, yx, yy = matrix
    if xx == 0:
        frames, xx, yy = frames.transpose(0, 2, 1, 3), yx, xy
    return np.ascontiguousarray(frames[:, ::yy, ::xx])


def make_turned(folder):
    frames = {}
    plain = folder / "plain.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48:rate=24:duration=0.125", "-c:v", "libx264", "-qp", 20, "-pix_fmt",
               "yuv420p", "-fflags", "+bitexact", "-flags", "+bitexact", plain)
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", plain, "-sws_flags", "bicubic", "-f", "rawvideo", "-pix_fmt", "rgb24",
                          "-"], check=True, capture_output=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 3)
    frames["plain.mp4.frames"] = shown
    for name, matrix in TURNED.items():
        (folder / name).write_bytes(plain.read_bytes())
        turn(folder / name, matrix)
        frames[f"{name}.frames"] = upright(shown, matrix)
    return frames


def run_ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def make_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    samples = {}
    with tempfile.TemporaryDirectory() as temporary:
        wav = pathlib.Path(temporary) / "a.wav"
        cover = pathlib.Path(temporary) / "cover.png"
        run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:duration=1", "-frames:v", 1, cover)
        for seed, (name, (rate, seconds, channels, how)) in enumerate(FILES.items()):
            soundfile.write(folder / name, sound(rate, seconds, channels, seed), rate, **how)
        for seed, (name, (rate, seconds, channels, how)) in enumerate(MADE.items()):
            soundfile.write(wav, sound(rate, seconds, channels, 100 + seed), rate, subtype="PCM_16")
            how = [str(cover) if argument == "{cover}" else argument for argument in how]
            run_ffmpeg("-i", wav, *how, "-fflags", "+bitexact", "-flags", "+bitexact", folder / name)
        for name in [*FILES, *MADE]:
            source = folder / name
            if name.endswith((".mp4", ".m4a")):
                run_ffmpeg("-i", source, "-vn", "-c:a", "pcm_f32le", wav)
                source = wav
            for start, length in [(0.0, None), *PARTS.get(name, [])]:
                key = name if (start, length) == (0.0, None) else f"{name}@{start}+{length}"
                samples[key] = librosa.load(source, sr=16000, offset=start, duration=length)[0]
    return samples


ENCODERS = {
    # xlsr-53's structure; what of it is small, and an even kernel of positions, as there
    "heads3": dict(dim=48, heads=3, layers=3, ffn=80, conv_dim=[24] * 7, kernel=[10, 3, 3, 3, 3, 2, 2],
                   stride=[5, 2, 2, 2, 2, 2, 2], positions=16, groups=4, top="ctc", spelling="parametrizations",
                   cases={"short": 3200, "odd": 12347, "silent": 4000, "least": 400, "long": 90001}),
    # other numbers throughout, an odd kernel, the old spelling of the weight norm, and no head
    "bare": dict(dim=40, heads=2, layers=2, ffn=72, conv_dim=[16, 20, 12], kernel=[8, 4, 3], stride=[4, 3, 2], positions=7,
                 groups=5, top="bare", spelling="weight_g", cases={"short": 1600, "odd": 2347}),
}


def speech(case, length, seed, sounds):
    if case == "silent":
        return np.zeros(length, np.float32)
    if case == "long":
        i = np.arange(length)
        return sounds["odd.samples"][i % len(sounds["odd.samples"])] * (1 + i // len(sounds["odd.samples"])).astype(np.float32)
    return sound(16000, (length + 1) / 16000, 1, seed)[:length, 0].astype(np.float32)


def make_encoder(name, folder):
    sizes = ENCODERS[name]
    config = Wav2Vec2Config(
        hidden_size=sizes["dim"], num_attention_heads=sizes["heads"], num_hidden_layers=sizes["layers"],
        intermediate_size=sizes["ffn"], conv_dim=sizes["conv_dim"], conv_kernel=sizes["kernel"], conv_stride=sizes["stride"],
        num_feat_extract_layers=len(sizes["conv_dim"]), num_conv_pos_embeddings=sizes["positions"],
        num_conv_pos_embedding_groups=sizes["groups"], do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True,
        vocab_size=11, layerdrop=0.0)
    model = Wav2Vec2ForCTC(config).eval()
    rules = [(r".*(q_proj|k_proj)\.weight", 0.6)]
    weights = fill(model.state_dict(), seed=len(name), rules=rules)
    model.load_state_dict({key: value.bfloat16() for key, value in weights.items()})
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.bfloat16().contiguous() for key, value in model.state_dict().items()}
    if sizes["spelling"] == "weight_g":
        state = {key.replace("parametrizations.weight.original0", "weight_g")
                 .replace("parametrizations.weight.original1", "weight_v"): value for key, value in state.items()}
    if sizes["top"] == "bare":
        state = {key.removeprefix("wav2vec2."): value for key, value in state.items() if key.startswith("wav2vec2.")}
    save_torch(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_diff_dict() | {
        key: getattr(config, key) for key in (
            "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "conv_dim", "conv_kernel",
            "conv_stride", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "do_stable_layer_norm",
            "feat_extract_norm", "conv_bias", "hidden_act", "feat_extract_activation", "layer_norm_eps")},
        indent=2, sort_keys=True, default=list) + "\n")
    (folder / "preprocessor_config.json").write_text(extractor.to_json_string())
    arrays = {}
    for seed, (case, length) in enumerate(sizes["cases"].items()):
        samples = speech(case, length, 200 + seed, arrays)
        normalized = extractor(samples, sampling_rate=16000, return_tensors="pt").input_values
        with torch.no_grad():
            result = model(normalized, output_hidden_states=True)
            features = model.wav2vec2.feature_extractor(normalized)[0].T
        states = {f"{case}.state_{i}": state[0].numpy() for i, state in enumerate(result.hidden_states)}
        if case == "long":  # a piece of wan's and a part of the next: the last layer says it
            arrays |= dict([states.popitem()])
        else:
            arrays |= states
            arrays |= {f"{case}.samples": samples, f"{case}.normalized": normalized[0].numpy(), f"{case}.features": features.contiguous().numpy()}
    thin.save(folder.with_name(name + ".safetensors"), arrays, lambda key: not key.endswith(".samples"))


def load_official(wan_dir):
    path = pathlib.Path(wan_dir) / "wan/modules/s2v/audio_encoder.py"
    spec = importlib.util.spec_from_file_location("audio_encoder", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    encoder = module.AudioEncoder.__new__(module.AudioEncoder)
    encoder.video_rate = 30
    return module.linear_interpolation, encoder


def make_features(wan_dir):
    interpolate, encoder = load_official(wan_dir)
    arrays = {}

    def run(states, clip):
        features = interpolate(states, input_fps=50, output_fps=30)
        heard, clips = encoder.get_audio_embed_bucket_fps(features, fps=16, batch_frames=clip, m=0)
        return features, heard, clips

    for case, (layers, count, dim, clip) in {"second": (2, 49, 5, 20), "two_clips": (3, 131, 3, 40), "two": (2, 2, 4, 8),
                                             "minute": (2, 2999, 1, 80)}.items():
        states = torch.randn((layers, count, dim), generator=torch.Generator().manual_seed(count))
        features, heard, clips = run(states, clip)
        arrays |= {f"{case}.states": states.numpy(), f"{case}.features": features.contiguous().numpy(),
                   f"{case}.heard": heard.numpy(), f"{case}.clips": np.array([clips])}
    counts = []
    for count in [*range(2, 400, 7), 249, 250, 251, 499, 500, 501, 937, 938, 939, 2999, 3000, 14999]:
        for clip in (80, 48):
            features, _, clips = run(torch.zeros(1, count, 1), clip)
            counts.append([count, features.shape[1], clip, clips])
    arrays["counts"] = np.array(counts)
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", required=True)
    parser.add_argument("--out", default=str(pathlib.Path(__file__).parents[2] / "tests/golden/audio"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    thin.save(out / "sounds.safetensors", make_files(out / "files") | make_turned(out / "files"), lambda _: True)
    for name in ENCODERS:
        make_encoder(name, out / "encoders" / name)
    thin.save(out / "features.safetensors", make_features(options.wan_dir), lambda key: key.endswith((".features", ".heard")))
    for file in out.rglob("*.safetensors"):
        file.chmod(0o644)


if __name__ == "__main__":
    main()
