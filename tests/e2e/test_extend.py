"""Prompt extension: by a server of our own that answers, and fails, in every way; by a small random model in the program."""

import base64
import json
import random
import shutil
import threading
import unittest
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gguf_support import F32_TENSOR, Q8_0_TENSOR, q8_0, write_gguf
from layouts_support import write_tensors
from support import BAD_FILE, INVALID_ARGUMENT, UNPACKED, UNSUPPORTED, WanTest, generate_arguments, read_png, write_png

IO = 74
GOLDEN = UNPACKED / "qwen"
SECRET = "sk-secret-0123456789abcdef"
PROXIES = {name: "" for name in ("http_proxy", "https_proxy", "all_proxy")}


def completion(text, reason="stop"):
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


def random_qwen():
    """Tensors of a Qwen2.5 by the names of safetensors files and of GGUF: {name: (GGUF's, shape, values)}; and its pairs in GGUF."""
    rng = random.Random(1)
    dim, ffn, keys, vocabulary, layers = 64, 96, 32, 524, 3
    tensors = {}

    def add(name, gguf, *shape):
        count, inputs = shape[0] * (shape[1] if len(shape) > 1 else 1), shape[-1]
        values = [rng.gauss(0, 1) / inputs ** 0.5 if len(shape) > 1 else 1 + rng.gauss(0, 0.1) for _ in range(count)]
        tensors[name] = (gguf, list(shape), array("f", values))

    add("model.embed_tokens.weight", "token_embd.weight", vocabulary, dim)
    add("model.norm.weight", "output_norm.weight", dim)
    add("lm_head.weight", "output.weight", vocabulary, dim)
    for i in range(layers):
        for name, gguf, *shape in [
                ("input_layernorm", "attn_norm", dim), ("self_attn.q_proj", "attn_q", dim, dim), ("self_attn.k_proj", "attn_k", keys, dim),
                ("self_attn.v_proj", "attn_v", keys, dim), ("self_attn.o_proj", "attn_output", dim, dim),
                ("post_attention_layernorm", "ffn_norm", dim), ("mlp.gate_proj", "ffn_gate", ffn, dim),
                ("mlp.up_proj", "ffn_up", ffn, dim), ("mlp.down_proj", "ffn_down", dim, ffn)]:
            add(f"model.layers.{i}.{name}.weight", f"blk.{i}.{gguf}.weight", *shape)
            if gguf in ("attn_q", "attn_k", "attn_v"):
                add(f"model.layers.{i}.{name}.bias", f"blk.{i}.{gguf}.bias", shape[0])
    config = {"model_type": "qwen2", "hidden_act": "silu", "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": 4,
              "num_key_value_heads": 2, "intermediate_size": ffn, "vocab_size": vocabulary, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
              "tie_word_embeddings": False, "max_position_embeddings": 32768}
    pairs = {"general.architecture": "qwen2", "qwen2.embedding_length": dim, "qwen2.block_count": layers,
             "qwen2.attention.head_count": 4, "qwen2.attention.head_count_kv": 2, "qwen2.feed_forward_length": ffn,
             "qwen2.context_length": 32768, "qwen2.attention.layer_norm_rms_epsilon": 1e-6, "qwen2.rope.freq_base": 1e6,
             "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2"}
    tokenizer = json.loads((GOLDEN / "tokenizers/qwen.json").read_text())
    pieces = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    added = tokenizer["added_tokens"]
    pairs["tokenizer.ggml.tokens"] = pieces + [token["content"] for token in added]
    pairs["tokenizer.ggml.token_type"] = [1] * len(pieces) + [3 if token["special"] else 4 for token in added]
    pairs["tokenizer.ggml.merges"] = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    return config, pairs, tensors


class Server:
    """Answers each question with the next of `answers`, the last one again and again: (status, body, headers), or "break"."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.path, dict(self.headers), json.loads(body)))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if answer == "break":
                    self.connection.close()
                    return
                status, reply, headers = answer
                reply = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(reply)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class ExtendTest(WanTest):
    def serve(self, *answers):
        server = Server(*answers)
        self.addCleanup(server.close)
        return server

    def extend(self, server, *more, prompt="a cat", key=SECRET, method="openai", env=None):
        arguments = ["extend", "--prompt", prompt, "--prompt_extend_method", method, "--prompt_extend_url", server.url,
                     "--prompt_extend_target_lang", "en", "--base_seed", "7", *more]
        if method == "openai":
            arguments += ["--prompt_extend_model", "some-model"]
        variables = {"OPENAI_API_KEY": key, "DASH_API_KEY": key, **PROXIES, **(env or {})}
        return self.run_wan(*arguments, env=variables)

    def model_folder(self, name="Qwen2.5-3B-Instruct"):
        folder = Path(self.folder) / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(GOLDEN / "models/llama", folder)
        shutil.copy(GOLDEN / "tokenizers/qwen.json", folder / "tokenizer.json")
        return folder

    def test_a_servers_answer_is_printed_alone(self):
        server = self.serve((200, completion("A grey cat\nstretches in the  sun. "), {}))
        result = self.extend(server)
        self.assertEqual((result.status, result.out), (0, "A grey cat stretches in the sun.\n"))
        path, headers, question = server.asked[0]
        self.assertEqual(path, "/v1/chat/completions")
        self.assertEqual(headers["Authorization"], f"Bearer {SECRET}")
        self.assertEqual((question["model"], question["seed"]), ("some-model", 7))
        system, user = question["messages"]
        self.assertEqual((system["role"], user), ("system", {"role": "user", "content": "a cat"}))
        self.assertIn("English", system["content"])
        self.assertNotIn(SECRET, result.out + result.err)
        chinese = self.serve((200, completion("一只灰猫"), {}))
        result = self.extend(chinese, "--prompt_extend_target_lang", "zh", "--json")
        told = json.loads(result.out)
        self.assertEqual(told, {"prompt": "一只灰猫", "given": "a cat", "task": "t2v-A14B", "model": "some-model"})
        self.assertIn("中文", chinese.asked[0][2]["messages"][0]["content"])

    def test_an_image_goes_along_small_and_the_tasks_instruction_with_it(self):
        picture = Path(self.folder) / "picture.png"
        write_png(picture, 900, 600, lambda x, y: (x % 256, y % 256, 90))
        server = self.serve((200, completion("The cat runs."), {}))
        self.assertEqual(self.extend(server, "--image", str(picture)).status, 0)
        system, user = server.asked[0][2]["messages"]
        text, image = user["content"]
        self.assertEqual(text, {"type": "text", "text": "a cat"})
        head, _, body = image["image_url"]["url"].partition(",")
        self.assertEqual(head, "data:image/png;base64")
        small = Path(self.folder) / "small.png"
        small.write_bytes(base64.b64decode(body, validate=True))
        width, height, _ = read_png(small)[:3]
        self.assertEqual((width, height), (627, 418))
        self.assertIn("picture", system["content"])
        instruction = Path(self.folder) / "instruction.txt"
        instruction.write_text("Say it as a pirate.")
        self.extend(server, "--prompt_extend_system", str(instruction))
        self.assertEqual(server.asked[1][2]["messages"][0]["content"], "Say it as a pirate.")

    def test_dashscope_is_asked_below_its_compatible_address_with_its_key(self):
        server = self.serve((200, completion("a cat, in detail"), {}))
        result = self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_method", "dashscope",
                              env={"DASH_API_KEY": SECRET, "DASH_API_URL": server.url[:-3] + "/api/v1", **PROXIES})
        self.assertEqual((result.status, result.out), (0, "a cat, in detail\n"))
        path, headers, question = server.asked[0]
        self.assertEqual((path, question["model"]), ("/compatible-mode/v1/chat/completions", "qwen-plus"))
        self.assertEqual(headers["Authorization"], f"Bearer {SECRET}")
        result = self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_method", "dashscope",
                              env={"DASH_API_KEY": "", **PROXIES})
        self.assert_refused(result, INVALID_ARGUMENT, "DASH_API_KEY", "--prompt_extend_method")

    def test_a_server_that_fails_for_a_moment_is_asked_again(self):
        busy = (503, {"error": {"message": "loading"}}, {"Retry-After": "0"})
        server = self.serve(busy, "break", busy, (200, completion("a cat at last"), {}))
        result = self.extend(server)
        self.assertEqual((result.status, result.out), (0, "a cat at last\n"))
        self.assertEqual(len(server.asked), 4)
        self.assertIn("again", result.err)

    def test_every_failure_says_what_to_do_and_tells_no_key(self):
        echo = {"error": {"message": f"Incorrect API key provided: {SECRET}."}}
        cases = [
            ((401, echo, {}), INVALID_ARGUMENT, ["OPENAI_API_KEY", "401", "[key]"]),
            ((404, {"error": {"message": "model not found"}}, {}), INVALID_ARGUMENT,
             ["--prompt_extend_model", "--prompt_extend_url", "model not found"]),
            ((400, {"message": "no images", "code": "x"}, {}), INVALID_ARGUMENT, ["no images"]),
            ((301, b"", {"Location": "https://elsewhere.example/v1"}), None, ["elsewhere.example"]),
            ((200, b"<html>hello</html>", {}), IO, ["cannot be read", "--prompt_extend_url"]),
            ((200, {"choices": []}, {}), IO, ["no choices"]),
            ((200, {"choices": [{"message": {"content": 3}}]}, {}), IO, ["cannot be read"]),
            ((200, b"{" * 1000, {}), IO, ["cannot be read"]),
            ((200, completion(" \n"), {}), IO, ["empty answer"]),
            ((200, completion(None), {}), IO, ["empty answer"]),
            ((200, b"x" * (5 << 20), {}), IO, ["more than"]),
            ((418, b"\x1b[31mteapot\xff", {}), IO, ["418", "teapot"]),
        ]
        for answer, status, words in cases:
            with self.subTest(answer=str(answer)[:80]):
                result = self.extend(self.serve(answer))
                if status is not None:
                    self.assertEqual(result.status, status, result.err)
                self.assertNotEqual(result.status, 0)
                for word in words:
                    self.assertIn(word, result.err)
                self.assertNotIn(SECRET, result.out + result.err)
                self.assertNotIn("\x1b", result.err)
                self.assertEqual(result.out, "")

    def test_a_key_of_few_letters_is_hidden_as_well(self):
        result = self.extend(self.serve((401, {"error": {"message": "no key is like your key"}}, {})), key="key")
        self.assertEqual(result.status, INVALID_ARGUMENT, result.err)
        self.assertIn("no [key] is like your [key]", result.err)

    def test_a_picture_that_the_task_does_not_take_is_refused(self):
        result = self.extend(self.serve((200, completion("x"), {})), "--task", "t2v-A14B", "--image", "x.png")
        self.assertEqual(result.status, INVALID_ARGUMENT, result.err)
        self.assertIn("from --prompt alone", result.err)

    def test_a_cut_answer_is_used_with_a_notice(self):
        result = self.extend(self.serve((200, completion("a cat that", "length"), {})))
        self.assertEqual((result.status, result.out), (0, "a cat that\n"))
        self.assertIn("cut off", result.err)

    def test_wrong_options_are_refused_before_anyone_is_asked(self):
        server = self.serve((200, completion("x"), {}))
        cases = [
            (["--task", "s2v-14B"], UNSUPPORTED, ["s2v-14B", "instruction"]),
            (["--prompt_extend_target_lang", "fr"], INVALID_ARGUMENT, ["--prompt_extend_target_lang fr", "zh or en"]),
            (["--prompt_extend_method", "telepathy"], INVALID_ARGUMENT, ["--prompt_extend_method telepathy", "openai"]),
            (["--prompt_extend_method", "local_qwen"], INVALID_ARGUMENT, ["--prompt_extend_url"]),
            (["--prompt_extend_url", "http://203.0.113.7/v1"], INVALID_ARGUMENT, ["unencrypted", "OPENAI_API_KEY"]),
            (["--prompt_extend_url", "ftp://x/v1"], INVALID_ARGUMENT, ["--prompt_extend_url"]),
            (["--prompt_extend_system", "no such file"], BAD_FILE, ["no such file"]),
            (["--prompt", ""], INVALID_ARGUMENT, ["--prompt"]),
        ]
        for more, status, words in cases:
            with self.subTest(more=more):
                result = self.extend(server, *more)
                self.assert_refused(result, status, *words)
                self.assertNotIn(SECRET, result.err)
        self.assertEqual(server.asked, [])

    def generated(self, server, *flags, **options):
        env = {"OPENAI_API_KEY": SECRET, **PROXIES}
        return self.run_wan(*generate_arguments(use_prompt_extend=True, prompt_extend_method="openai",
                                                prompt_extend_model="some-model", prompt_extend_url=server.url, **options),
                            *flags, env=env)

    def test_a_video_is_made_from_the_extended_prompt(self):
        server = self.serve((200, completion("a large red circle"), {}))
        result = self.generated(server, "--json", prompt="a circle", save_file="a.mp4")
        self.assertEqual(result.status, 0, result.err)
        events = result.events
        told = [event for event in events if event["event"] == "prompt_extended"]
        self.assertEqual(told, [{"event": "prompt_extended", "given": "a circle", "prompt": "a large red circle",
                                 "model": "some-model"}])
        phases = [event["phase"] for event in events if event["event"] == "phase_started"]
        self.assertEqual(phases[:2], ["extend", "load"])
        settings = next(event["values"] for event in events if event["event"] == "settings")
        self.assertEqual(settings["prompt"], "a large red circle")
        video = (Path(self.folder) / "a.mp4").read_bytes()
        self.assertIn(b"a large red circle", video)
        self.assertNotIn(SECRET.encode(), video)
        self.assertNotIn(SECRET, result.out + result.err)

    def test_without_a_server_it_stops_or_goes_on_with_the_given_prompt(self):
        server = self.serve((401, {}, {}))
        result = self.generated(server, prompt="a circle", save_file="a.mp4")
        self.assert_refused(result, INVALID_ARGUMENT, "OPENAI_API_KEY")
        self.assertEqual(self.names(), [])
        result = self.generated(server, "--prompt_extend_fallback", "--json", prompt="a circle", save_file="a.mp4")
        self.assertEqual(result.status, 0, result.err)
        settings = next(event["values"] for event in result.events if event["event"] == "settings")
        self.assertEqual(settings["prompt"], "a circle")
        self.assertTrue(any("not extended" in event.get("message", "") for event in result.events))

    def test_many_requests_are_extended_before_the_first_is_made(self):
        server = self.serve((200, completion("a red circle, large"), {}), (400, {"error": "no"}, {}),
                            (200, completion("a blue square, small"), {}))
        lines = [{"prompt": "circle", "save_file": "1.mp4"}, {"prompt": "bad", "save_file": "2.mp4"},
                 {"prompt": "square", "save_file": "3.mp4"},
                 {"prompt": "as it is", "save_file": "4.mp4", "use_prompt_extend": False}]
        (Path(self.folder) / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        result = self.generated(server, "--json", prompt=None, save_file=None, requests="r.jsonl")
        self.assertEqual(result.status, INVALID_ARGUMENT, result.err)
        events = result.events
        kinds = [event["event"] for event in events]
        self.assertLess(len(kinds) - 1 - kinds[::-1].index("prompt_extended"), kinds.index("request_started"))
        prompts = [event["prompt"] for event in events if event["event"] == "request_started"]
        self.assertEqual(prompts, ["a red circle, large", "a blue square, small", "as it is"])
        self.assertEqual(next(event["made"] for event in events if event["event"] == "summary"), [1, 3, 4])

    def test_a_local_model_answers_the_same_for_a_seed(self):
        folder = self.model_folder()
        def ask(*more, model=str(folder)):
            return self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_model", model, "--device", "cpu", "--json",
                                *more)
        first = ask("--base_seed", "1")
        self.assertEqual(first.status, 0, first.err)
        told = json.loads(first.out)
        self.assertEqual(told["model"], "Qwen2.5-3B-Instruct")
        self.assertTrue(told["prompt"])
        self.assertEqual(ask("--base_seed", "1").out, first.out)
        self.assertNotEqual(ask("--base_seed", "2").out, first.out)
        streamed = ask("--base_seed", "1", "--memory_limit", "1MB")
        self.assertEqual(streamed.out, first.out)
        self.assertIn("layers", streamed.err)
        # By its official name, in the working directory.
        named = ask("--base_seed", "1", "--ckpt_dir", str(Path(self.folder) / "Wan2.2-T2V-A14B"), model="Qwen2.5_3B")
        self.assertEqual(named.out, first.out, named.err)

    def test_a_gguf_file_answers_as_its_folder_does(self):
        folder = Path(self.folder) / "Qwen2.5-1B-Instruct"
        folder.mkdir()
        config, pairs, tensors = random_qwen()
        sampling = {"do_sample": True, "repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "eos_token_id": [522, 520]}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps(sampling))
        shutil.copy(GOLDEN / "tokenizers/qwen.json", folder / "tokenizer.json")
        write_tensors(folder / "model.safetensors",
                      {name: ("F32", shape, values.tobytes()) for name, (_, shape, values) in tensors.items()})
        whole, packed = (Path(self.folder) / name for name in ("whole.gguf", "packed.gguf"))
        exact = {gguf: (F32_TENSOR, shape, values.tobytes()) for gguf, shape, values in tensors.values()}
        write_gguf(whole, pairs, exact)
        small = {gguf: (Q8_0_TENSOR, shape, b"".join(q8_0(values[i : i + shape[1]]) for i in range(0, len(values), shape[1])))
                 for gguf, shape, values in tensors.values() if len(shape) == 2}
        write_gguf(packed, pairs, {**exact, **small})
        self.assertLess(packed.stat().st_size, whole.stat().st_size / 2)

        def ask(model, *more):
            return self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_model", str(model), "--device", "cpu", "--json",
                                "--base_seed", "1", *more)
        answer = ask(folder)
        self.assertEqual(answer.status, 0, answer.err)
        expected = json.loads(answer.out)["prompt"]
        self.assertTrue(expected)
        answer = ask(whole)  # the pairs and the published way of drawing words stand for the folder's files
        self.assertEqual(json.loads(answer.out or "{}").get("prompt"), expected, answer.err)
        answer = ask(packed)
        self.assertEqual(answer.status, 0, answer.err)
        streamed = ask(packed, "--memory_limit", "1MB")  # its layers are kept packed, two at a time
        self.assertEqual(streamed.out, answer.out, streamed.err)

        for change, status, word in [
                ({"general.architecture": "llama"}, UNSUPPORTED, "llama"), ({"tokenizer.ggml.pre": "llama-bpe"}, UNSUPPORTED, "llama-bpe"),
                ({"qwen2.block_count": 4}, BAD_FILE, "model.layers.3"), ({"qwen2.attention.head_count": 5}, BAD_FILE, "heads"),
                ({"qwen2.rope.freq_base": "x"}, BAD_FILE, "qwen2.rope.freq_base"),
                ({"tokenizer.ggml.token_type": [1]}, BAD_FILE, "tokenizer"),
                ({"tokenizer.ggml.merges": ["ab"]}, BAD_FILE, "merge")]:
            with self.subTest(change=change):
                write_gguf(whole, {**pairs, **change}, exact)
                refused = ask(whole)
                self.assertEqual((refused.status, refused.out), (status, ""), refused.err)
                self.assertIn(word, refused.err)
        picture = Path(self.folder) / "picture.png"
        write_png(picture, 8, 8, lambda x, y: (x, y, 9))
        refused = ask(packed, "--image", str(picture))
        self.assertEqual((refused.status, refused.out), (UNSUPPORTED, ""), refused.err)
        self.assertIn("reads text alone", refused.err)

    def test_a_local_model_is_found_by_its_name(self):
        folder = Path(self.folder)
        home = {"HOME": str(folder), **{name: "" for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "WAN_MODELS")}}
        def ask(*more, model="Qwen2.5_3B", **env):  # by this seed its answer is short
            return self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_model", model, "--device", "cpu", "--json",
                                "--base_seed", "5", *more, env={**home, **{name: str(folder / path) for name, path in env.items()}})
        for checkpoint in ("beside/Wan2.2-T2V-A14B", "named/Wan-AI/Wan2.2-T2V-A14B"):
            (folder / checkpoint).mkdir(parents=True)
        self.model_folder("beside/Qwen2.5-3B-Instruct")
        self.model_folder("named/Wan-AI/Qwen2.5-3B-Instruct")
        self.model_folder("downloaded/Qwen/Qwen2.5-3B-Instruct")
        for root in ("cache/huggingface", "home/.cache/huggingface", "part/huggingface"):
            repository = f"{root}/hub/models--Qwen--Qwen2.5-3B-Instruct"
            old, new = (self.model_folder(f"{repository}/snapshots/{commit}") for commit in ("aaa", "bbb"))
            (folder / repository / "refs").mkdir()
            (folder / repository / "refs/main").write_text("bbb")
            if root.startswith("part"):
                (new / "config.json").unlink()
            else:  # would be refused
                (old / "config.json").write_text('{"model_type": "mamba"}')
        expected = None
        for where, arguments, env in [
                ("beside a folder", ("--ckpt_dir", "beside/Wan2.2-T2V-A14B/"), {}),
                ("beside a published model", ("--ckpt_dir", "t2v-A14B"), {"WAN_MODELS": "named"}),
                ("beside a named download", ("--ckpt_dir", "Wan2.2-T2V-A14B"), {"WAN_MODELS": "named"}),
                ("where downloads are put", (), {"WAN_MODELS": "downloaded"}),
                ("in the cache, of the main branch", (), {"XDG_CACHE_HOME": "cache"}),
                ("in the home folder's cache", (), {"HOME": "home"}),
                ("in the cache, of an older commit", (), {"XDG_CACHE_HOME": "part"})]:
            with self.subTest(where):
                found = ask(*arguments, **env)
                self.assertEqual(found.status, 0, found.err)
                expected = expected or found.out
                self.assertEqual(found.out, expected)
                self.assertEqual(json.loads(found.out)["model"], "Qwen2.5-3B-Instruct")
        by_hub_name = ask(model="Qwen/Qwen2.5-3B-Instruct", WAN_MODELS="downloaded")
        self.assertEqual(by_hub_name.out, expected, by_hub_name.err)
        nowhere = ask(WAN_MODELS="named")  # where another organisation's is
        self.assertEqual((nowhere.status, nowhere.out), (BAD_FILE, ""))
        self.assertIn("download Qwen/Qwen2.5-3B-Instruct", nowhere.err)

    def test_a_local_model_that_cannot_be_used_is_refused(self):
        folder = self.model_folder("broken")
        def ask(*more, model=str(folder)):
            return self.run_wan("extend", "--prompt", "a cat", "--prompt_extend_model", model, "--device", "cpu", *more,
                                env={"HF_HOME": self.folder})
        self.assert_refused(ask(model="Qwen2.5_7B"), BAD_FILE, "Qwen2.5-7B-Instruct", "--prompt_extend_model")
        config = json.loads((folder / "config.json").read_text())
        for change, status, word in [({"model_type": "mamba"}, UNSUPPORTED, "mamba"),
                                     ({"vocab_size": 500}, BAD_FILE, "tokens")]:
            (folder / "config.json").write_text(json.dumps({**config, **change}))
            with self.subTest(change=change):
                self.assert_refused(ask(), status, word)
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
        missing = ask()
        self.assertEqual((missing.status, missing.out), (BAD_FILE, ""))
        self.assertIn("model.layers.2.self_attn.q_proj.weight", missing.err)
        (folder / "config.json").write_text(json.dumps(config))
        picture = Path(self.folder) / "picture.png"
        write_png(picture, 8, 8, lambda x, y: (x, y, 9))
        self.assert_refused(ask("--image", str(picture)), UNSUPPORTED, "reads text alone", "--image", "Qwen2.5-VL")
        (folder / "tokenizer.json").unlink()
        self.assert_refused(ask(), BAD_FILE, "tokenizer.json")

    def test_a_videos_prompt_by_a_local_model(self):
        folder = self.model_folder()
        result = self.generate("--use_prompt_extend", "--json", prompt_extend_model=str(folder), prompt="a circle",
                               save_file="a.mp4", device="cpu")
        self.assertEqual(result.status, 0, result.err)
        told = next(event for event in result.events if event["event"] == "prompt_extended")
        settings = next(event["values"] for event in result.events if event["event"] == "settings")
        self.assertEqual(settings["prompt"], told["prompt"])
        self.assertNotEqual(told["prompt"], "a circle")


if __name__ == "__main__":
    unittest.main()
