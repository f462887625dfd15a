"""`wan download` against a hub of our own that misbehaves in every way."""

import hashlib
import json
import random
import signal
import subprocess
import time
import unittest

from hub_server import COMMIT, Hub
from support import BAD_FILE, CANCELLED, INVALID_ARGUMENT, IO, WAN, WanTest, environment, run

BIG = random.Random(1).randbytes(300_000)
FILES = {
    "README.md": b"hello",
    "Wan2.2_VAE.pth": BIG,
    "config.json": b'{"model_type": "ti2v"}',
    "diffusion_pytorch_model-00001-of-00001.safetensors": BIG[:200_000],
    "diffusion_pytorch_model.safetensors.index.json": b"{}",
    "google/umt5-xxl/tokenizer.json": b"{}",
    "models_t5_umt5-xxl-enc-bf16.pth": BIG[1000:150_000],
    "assets/logo.png": b"png",
}
NEEDED = sorted(set(FILES) - {"README.md", "assets/logo.png"})
VAE = "Wan2.2_VAE.pth"
REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B"


def has_curl():
    return "without libcurl" not in run("download", "x/y", env={"HF_ENDPOINT": "http://127.0.0.1:1"}).err


@unittest.skipUnless(has_curl(), "a build without libcurl")
class DownloadTest(WanTest):
    def setUp(self):
        super().setUp()
        self.hub = Hub(FILES)
        self.addCleanup(self.hub.close)
        self.environment = {"HF_ENDPOINT": self.hub.url(), "MODELSCOPE_ENDPOINT": self.hub.url(),
                            "WAN_MODELS": str(self.folder / "models"), "HOME": str(self.folder), "HF_TOKEN": "",
                            "HF_HOME": "", "http_proxy": "", "all_proxy": "", "XDG_CACHE_HOME": ""}
        self.target = self.folder / "models" / REPOSITORY

    def download(self, *arguments, **more):
        return self.run_wan("download", *arguments, env={**self.environment, **more})

    def fetch(self, *arguments, **more):
        result = self.download(*arguments, **more)
        self.assertEqual(result.status, 0, result.err)
        return result

    def refused(self, status, *words, arguments=(REPOSITORY, VAE), **more):
        result = self.download(*arguments, **more)
        self.assertEqual(result.status, status, result.err + result.out)
        for word in words:
            self.assertIn(word, result.err)
        self.assertNotIn("secret", result.err)
        return result

    def there(self):
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file())

    def assert_vae(self):
        self.assertEqual((self.target / VAE).read_bytes(), BIG)
        self.assertEqual(self.there(), [VAE], "nothing else is left")

    # --- the plain way ---

    def test_a_published_model_comes_by_its_name_and_is_not_fetched_twice(self):
        self.hub.page = 3
        result = self.fetch("ti2v-5B")
        self.assertEqual(result.out, f"{self.target}\n")
        self.assertEqual(self.there(), NEEDED)
        for name in NEEDED:
            self.assertEqual((self.target / name).read_bytes(), FILES[name])
        fetched = len(self.hub.asked("cdn"))
        self.assertEqual(fetched, 3)
        self.assertTrue(all(f"/resolve/{COMMIT}/" in path for path, _ in self.hub.asked("api", "/resolve/")))
        self.fetch("ti2v-5B")
        self.assertEqual(len(self.hub.asked("cdn")), fetched)
        self.assertIn(str(self.target), self.download("--list").out)

    def test_its_name_is_a_checkpoint_then(self):
        self.hub.files = {name: FILES[name] for name in ("README.md", VAE)}
        self.fetch(REPOSITORY, "README.md")
        refused = self.run_wan("generate", "--task", "ti2v-5B", "--ckpt_dir", "ti2v-5B", "--prompt", "a", env=self.environment)
        self.assertIn(str(self.target), refused.err, "the folder that lacks the model's files")

    def test_lists_and_plans_fetch_nothing(self):
        self.assertIn("ti2v-5B      Wan-AI/Wan2.2-TI2V-5B\n", self.fetch("--list").out)
        self.assertIn("left out README.md", self.fetch("ti2v-5B", "--list").out)
        plan = json.loads(self.fetch("ti2v-5B", "--dry_run", "--json").out)
        self.assertEqual(sorted(file["path"] for file in plan["files"]), NEEDED)
        self.assertEqual((plan["commit"], plan["missing"]), (COMMIT, plan["bytes"]))
        self.assertEqual([file["sha256"] for file in plan["files"] if file["path"] == VAE],
                         [hashlib.sha256(BIG).hexdigest()])
        self.assertEqual(self.hub.asked("cdn"), [])
        self.assertEqual(self.names(), [])

    def test_files_folders_and_patterns_choose(self):
        self.fetch(REPOSITORY, "google", "*.md", "--local_dir", "here")
        self.target = self.folder / "here"
        self.assertEqual(self.there(), ["README.md", "google/umt5-xxl/tokenizer.json"])
        self.refused(INVALID_ARGUMENT, "has no file nothing", arguments=(REPOSITORY, "nothing"))
        self.refused(INVALID_ARGUMENT, "expected t2v-A14B", arguments=("wan",))
        self.refused(INVALID_ARGUMENT, "expected t2v-A14B", arguments=("../..",))
        self.refused(INVALID_ARGUMENT, "--source ftp: expected huggingface or modelscope",
                     arguments=("ti2v-5B", "--source", "ftp"))

    def test_events(self):
        result = self.fetch("ti2v-5B", "--json")
        self.assertEqual(result.err, "")
        events = result.events
        self.assertEqual(events[0], {"event": "phase_started", "phase": "download",
                                     "total": sum(len(FILES[name]) for name in NEEDED)})
        progress = [event for event in events if event["event"] == "progress"]
        self.assertEqual(progress[-1]["done"], progress[-1]["total"])
        self.assertEqual(events[-1]["event"], "downloaded")
        self.assertEqual(events[-1]["folder"], str(self.target))

    def test_modelscope(self):
        self.fetch("ti2v-5B", "--source", "modelscope", MODELSCOPE_API_TOKEN="secret")
        self.assertEqual(self.there(), NEEDED)
        self.refused(INVALID_ARGUMENT, "has no repository a/b that this user may see", arguments=("a/b", "--source", "modelscope"))

    # --- servers that misbehave ---

    def test_goes_on_after_every_fault_that_passes(self):
        for faults in (["cut"], ["cut", "cut", "no-range"], ["cut", "other-range"], ["cut", "changed"], ["403"],
                       ["503"], ["429"], ["cut", "416"], ["wrong"], ["long"], ["gzip"], ["html"], ["pointer"]):
            with self.subTest(faults=faults):
                self.hub.faults[VAE] = list(faults)
                self.hub.requests.clear()
                self.fetch(REPOSITORY, VAE)
                self.assert_vae()
                # The whole file where a part was asked for, or a compressed one, is taken as it comes.
                self.assertEqual(len(self.hub.asked("cdn")), len(faults) + (faults[-1] not in ("no-range", "gzip")))
                (self.target / VAE).unlink()

    def test_more_connections_than_there_is_to_do(self):
        self.hub.files = {f"{i}.json": b"{}" for i in range(32)}
        for _ in range(5):  # the first threads are done while the last ones start
            self.fetch(REPOSITORY, "*", "--connections", "32")
        self.assertEqual(len(self.there()), 32)

    def test_a_long_wait_is_told(self):
        self.hub.faults[VAE] = ["503-long"]
        self.assertIn(f"note: 127.0.0.1 answers 503 for {VAE}; the next attempt is in 4 s\n", self.fetch(REPOSITORY, VAE).err)

    def test_asks_for_what_is_missing_alone(self):
        self.hub.faults[VAE] = ["cut"]
        self.fetch(REPOSITORY, VAE)
        first, second = (headers for _, headers in self.hub.asked("cdn"))
        self.assertNotIn("Range", first)
        self.assertEqual((second["Range"], second["If-Range"]), ("bytes=150000-", '"v1"'))

    def test_what_does_not_pass_is_told_and_not_named(self):
        self.hub.faults[VAE] = ["wrong"] * 2
        self.refused(BAD_FILE, "is not what 127.0.0.1 says (sha256)")
        self.assertEqual(self.there(), [])
        self.hub.faults[VAE] = ["pointer"] * 2
        self.refused(BAD_FILE, "is a pointer of git-lfs")
        self.hub.faults[VAE] = ["html"] * 2
        self.refused(BAD_FILE, "came as a web page")
        self.hub.faults["README.md"] = ["404"]
        self.refused(INVALID_ARGUMENT, "has no README.md", arguments=(REPOSITORY, "README.md"))
        self.hub.faults["README.md"] = ["wrong"] * 2
        self.refused(BAD_FILE, "the content of README.md", arguments=(REPOSITORY, "README.md"))

    def test_a_server_that_falls_silent_is_left_and_asked_again(self):
        self.hub.faults[VAE] = ["silent"]
        self.fetch(REPOSITORY, VAE, "--timeout", "0.3")
        self.assert_vae()

    def test_an_interrupted_download_goes_on_in_the_next_run(self):
        self.hub.faults[VAE] = ["cut"] + ["silent"] * 9
        process = subprocess.Popen([WAN, "download", REPOSITORY, VAE], cwd=self.folder, text=True,
                                   env=environment(self.environment), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while len(self.hub.asked("cdn")) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, CANCELLED, err)
        self.assertIn("the same command goes on with it", err)
        (left,) = self.there()
        self.assertRegex(left, r"\A\.Wan2\.2_VAE\.pth\.[0-9a-f]{16}\.incomplete\Z")
        self.assertIn(" 50% ", self.download(REPOSITORY, VAE, "--dry_run").out)
        self.hub.faults[VAE] = []
        self.hub.requests.clear()
        result = self.fetch(REPOSITORY, VAE, "--json")
        self.assertEqual(result.events[0]["total"], 150_000)
        self.assertEqual([headers["Range"] for _, headers in self.hub.asked("cdn")], ["bytes=150000-"])
        self.assert_vae()

    def test_a_part_that_is_damaged_is_found_and_fetched_again(self):
        self.target.mkdir(parents=True)
        content = hashlib.sha256(BIG).hexdigest()[:16]
        for part in (bytes(1000), bytes(len(BIG)), bytes(len(BIG) + 5)):
            (self.target / f".{VAE}.{content}.incomplete").write_bytes(part)
            self.fetch(REPOSITORY, VAE)
            self.assert_vae()
            (self.target / VAE).unlink()

    def test_another_file_is_not_replaced(self):
        self.target.mkdir(parents=True)
        for content in (b"mine", bytes(len(BIG))):
            (self.target / VAE).write_bytes(content)
            self.refused(INVALID_ARGUMENT, f"{VAE} is there already and is not the published file")
            self.assertEqual((self.target / VAE).read_bytes(), content)

    # --- listings ---

    def test_listings_that_pass_and_that_do_not(self):
        self.hub.faults["list"] = ["503", "429"]
        self.fetch(REPOSITORY, VAE)
        self.hub.faults["list"] = ["html"]
        self.refused(BAD_FILE, "127.0.0.1", "sign-in page; check HF_ENDPOINT")
        self.hub.faults["list"] = ["429-long"]
        self.refused(IO, "takes no more requests for now (for 3600 s)")
        self.refused(INVALID_ARGUMENT, "has no such branch, tag or commit",
                     arguments=(REPOSITORY, "--revision", "nowhere"))
        self.fetch("Wan-AI/Old", VAE, "--local_dir", "old")

    def test_paths_cannot_leave_the_folder(self):
        for path in ("../x", "/x", "a/../../x", "a//x", "./x", "a\\..\\x", "a/\n", "a/", "", "x" * 300, "a\0b", "é\udce9"):
            with self.subTest(path=path):
                self.hub.listed = [self.hub.entry("README.md") | {"path": path}]
                result = self.refused(BAD_FILE, arguments=("--local_dir", "here", REPOSITORY))
                self.assertEqual(self.names(), [], result.err)
        entry = self.hub.entry("README.md")
        self.hub.listed = [entry, entry]
        self.refused(BAD_FILE, "README.md twice")
        for large in ({"oid": "/../../evil".ljust(64, "0"), "size": 3}, {"oid": "0" * 63, "size": 3}):  # it becomes a part of a name
            self.hub.listed = [entry | {"lfs": large}]
            self.refused(BAD_FILE, "a sum that is none")
        self.hub.listed = [entry | {"lfs": {"oid": "0" * 64, "size": 1 << 60}}]
        self.refused(BAD_FILE, "do not trust it")
        self.hub.listed = [entry | {"size": -5}]
        self.refused(BAD_FILE, "a size in bytes")
        self.hub.listed = []
        self.refused(INVALID_ARGUMENT, "has no file", arguments=(REPOSITORY,))

    def test_a_disk_without_room_is_told_before_the_first_byte(self):
        self.hub.listed = [self.hub.entry(VAE) | {"lfs": {"oid": "0" * 64, "size": 1 << 44}}]
        self.refused(IO, "GB free, and", "--local_dir")
        self.assertEqual(self.hub.asked("api", "/resolve/"), [])

    # --- who may ---

    def test_gated_private_and_missing_repositories(self):
        self.refused(INVALID_ARGUMENT, "has no repository a/b that this user may see", "HF_TOKEN", arguments=("a/b",))
        self.hub.gate = "secret"
        self.refused(INVALID_ARGUMENT, f"{REPOSITORY} is gated: ask for access at {self.hub.url()}/{REPOSITORY}")
        self.refused(INVALID_ARGUMENT, "the one given has no access", HF_TOKEN="other")
        self.fetch(REPOSITORY, VAE, HF_TOKEN=" secret\n")
        self.assert_vae()

    def test_the_token_goes_to_its_own_host_alone(self):
        self.fetch(REPOSITORY, VAE, HF_TOKEN="secret")
        self.assertTrue(all(h.get("Authorization") == "Bearer secret" for _, h in self.hub.asked("api")))
        self.assertEqual(len(self.hub.asked("cdn")), 1)
        self.assertFalse(any("secret" in str(headers) for _, headers in self.hub.asked("cdn")))
        # A login at Hugging Face is nothing for a mirror.
        (self.folder / ".cache/huggingface").mkdir(parents=True)
        (self.folder / ".cache/huggingface/token").write_text("secret-login")
        self.hub.requests.clear()
        (self.target / VAE).unlink()
        self.fetch(REPOSITORY, VAE)
        self.assertNotIn("secret-login", str(self.hub.requests))

    def test_addresses_and_networks(self):
        self.refused(IO, "cannot reach 127.0.0.1", HF_ENDPOINT="http://127.0.0.1:1")
        self.refused(INVALID_ARGUMENT, "HF_ENDPOINT: expected an address", HF_ENDPOINT="hf-mirror.com")
        self.refused(INVALID_ARGUMENT, "HF_HUB_OFFLINE is set", HF_HUB_OFFLINE="1")
        self.fetch(REPOSITORY, VAE, HF_ENDPOINT="http://models.invalid", http_proxy=self.hub.url(),
                   no_proxy="127.0.0.1", HF_TOKEN="secret")
        self.assert_vae()
        self.assertNotIn("secret", str([headers for _, _, headers in self.hub.requests]), "unencrypted")

    def test_two_downloads_do_not_write_one_file(self):
        self.hub.faults[VAE] = ["silent"] * 9
        process = subprocess.Popen([WAN, "download", REPOSITORY, VAE], cwd=self.folder,
                                   env=environment(self.environment), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while not self.hub.asked("cdn") and time.monotonic() < deadline:
                time.sleep(0.02)
            self.refused(IO, "is being downloaded already")
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    unittest.main()
