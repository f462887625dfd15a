"""Several processes on one video, started by mpirun: the video of one, one word to the user, and an end for all when one ends.

Two "machines" are network namespaces with a cable between them and host names of their own.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from support import (BAD_FILE, CANCELLED, INVALID_ARGUMENT, SOURCE, UNSUPPORTED, WAN, WanTest, environment, generate_arguments, may_mount,
                     read_npy, write_png)

DEMO = SOURCE / "models/demo"  # four heads
DEMO_I2V = SOURCE / "models/demo-i2v"
CLOSE = 2e-5  # of the latents' root mean square: the order of sums
DEVICE = 72
MPIRUN = shutil.which("mpirun")
# mpirun asks root whether it means it; a machine of two processors has four processes here, and each has all of them.
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
MPI = [MPIRUN, "--oversubscribe", "--bind-to", "none"]


def relative_rms(a, b):
    difference = sum((x - y) ** 2 for x, y in zip(a, b))
    return (difference / sum(x * x for x in b)) ** 0.5


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


def may_make_namespaces():
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "wan-try"], capture_output=True, check=False).returncode == 0
    subprocess.run(["ip", "netns", "delete", "wan-try"], capture_output=True, check=False)
    return made


def process_of_rank(rank, program="wan"):
    """The number of the process that mpirun calls so, of this test's family."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "exe").readlink().name == program and f"OMPI_COMM_WORLD_RANK={rank}".encode() in (
                    folder / "environ").read_bytes().split(b"\0") and f"WAN_TEST={os.getpid()}".encode() in (
                    folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"no process of rank {rank}")


@unittest.skipIf(MPIRUN is None, "mpirun is not installed (apt-get install openmpi-bin libopenmpi-dev)")
class ProcessesTest(WanTest):
    known = []  # the video of one, without more options

    def environment(self):
        return environment({**AS_ROOT, "WAN_TEST": str(os.getpid())})

    def arguments(self, **options):
        return generate_arguments(**{"checkpoint": DEMO, "size": "64*48", "frame_num": "5", "sample_steps": "4", "device": "cpu",
                                     "threads": None, **options})

    def run_processes(self, count, *arguments, launch=()):
        done = subprocess.run([*MPI, *launch, "-np", str(count), WAN, *map(os.fspath, arguments)], cwd=self.folder,
                              env=self.environment(), capture_output=True, text=True, timeout=120, check=False)
        return done

    def made(self, name):
        return {file: read_npy(self.folder / name / file) for file in ("latents.npy", "frames.npy")}

    def alone(self, name, **options):
        result = self.run_wan(*self.arguments(dump=name, save_file=f"{name}_%05d.png", **options))
        self.assertEqual(result.status, 0, result.err)
        return self.made(name)

    def of_one(self):
        if not self.known:
            self.known.append(self.alone("alone"))
        return self.known[0]

    def together(self, count, name, launch=(), **options):
        done = self.run_processes(count, *self.arguments(dump=name, save_file=f"{name}_%05d.png", **options), launch=launch)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.made(name)

    def assert_same_video(self, made, expected):
        self.assertEqual(made["latents.npy"].shape, expected["latents.npy"].shape)
        self.assertLess(relative_rms(made["latents.npy"].values, expected["latents.npy"].values), CLOSE)
        grey_levels = max(abs(a - b) for a, b in zip(made["frames.npy"].values, expected["frames.npy"].values))
        self.assertLessEqual(grey_levels, 1)

    def start(self, count, *arguments):
        """A long run, in its third step when this returns."""
        run = subprocess.Popen([*MPI, "-np", str(count), WAN, *map(os.fspath, arguments)], cwd=self.folder, env=self.environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.wait, 60)
        next(line for line in run.stdout if '"step":2,' in line)
        return run

    LONG = {"size": "128*128", "frame_num": "17", "sample_steps": "200", "sample_solver": "euler", "save_file": "long_%05d.png",
            "json": True}


class SameVideo(ProcessesTest):
    def test_any_division_makes_the_video_of_one(self):
        expected = self.of_one()
        for count, ranks in ((2, None), (2, 4), (2, 3), (3, 3)):
            with self.subTest(processes=count, ranks=ranks):
                self.assert_same_video(self.together(count, f"by{count}_{ranks}", ulysses_size=ranks), expected)

    def test_each_process_divides_weights_over_its_ranks(self):
        expected = self.of_one()
        options = {"ulysses_size": 4, "dit_fsdp": True, "t5_fsdp": True}
        self.assert_same_video(self.together(2, "divided", **options), expected)
        done = self.run_processes(2, *self.arguments(save_file="a_%05d.png", plan=True, json=True, **options))
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = json.loads(done.stdout)
        self.assertEqual((plan["ranks"], plan["shards"], plan["transport"]), (4, 2, "mpi"))
        self.assertGreater(plan["sharded_blocks"], 0)
        done = self.run_processes(2, *self.arguments(save_file="b_%05d.png", json=True, dit_fsdp=True))
        self.assertEqual(done.returncode, 0, done.stderr)
        notices = [event["message"] for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "notice"]
        self.assertTrue(any("each process has one rank" in notice for notice in notices), notices)

    def test_a_seed_that_is_drawn_is_the_same_everywhere(self):
        done = self.run_processes(2, *self.arguments(base_seed="-1", save_file="drawn_%05d.png", dump="drawn", json=True))
        self.assertEqual(done.returncode, 0, done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        settings = [event for event in events if event["event"] == "settings"]
        self.assertEqual(len(settings), 1)
        self.assertEqual(len([event for event in events if event["event"] == "finished"]), 1)
        self.assert_same_video(self.made("drawn"), self.alone("alone", base_seed=settings[0]["values"]["seed"]))

    def test_files_of_the_first_process_are_enough(self):
        write_png(self.folder / "red.png", 40, 30, lambda x, y: (200, 5 * x, 6 * y))
        options = {"checkpoint": DEMO_I2V, "task": "i2v-A14B", "image": "red.png", "size": "64*64"}
        expected = self.alone("alone", **options)
        (self.folder / "elsewhere").mkdir()
        arguments = self.arguments(dump="two", save_file="two_%05d.png", **options)
        done = subprocess.run([*MPI, "-np", "1", WAN, *arguments, ":", "-np", "1", "-wdir", self.folder / "elsewhere", WAN, *arguments],
                              cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same_video(self.made("two"), expected)
        self.assertEqual(list((self.folder / "elsewhere").iterdir()), [])

    def test_many_requests_one_of_which_fails(self):
        expected = self.alone("alone", base_seed="3")
        lines = [{"base_seed": 2, "save_file": "first_%05d.png"}, {"frame_num": 8, "save_file": "second_%05d.png"},
                 {"base_seed": 3, "save_file": "third_%05d.png", "dump": "third"}]
        (self.folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = self.run_processes(2, *self.arguments(save_file=None, requests="requests.jsonl"))
        self.assertEqual(done.returncode, INVALID_ARGUMENT, done.stderr)
        self.assertTrue((self.folder / "first_00000.png").exists())
        self.assert_same_video(self.made("third"), expected)


class Messages(ProcessesTest):
    def assert_said_once(self, done, status, *words):
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(len(errors(done.stderr)), 1, done.stderr)
        for word in words:
            self.assertIn(word, errors(done.stderr)[0])

    def test_what_is_wrong_is_said_once(self):
        self.assert_said_once(self.run_processes(3, "generate", "--nonsense"), INVALID_ARGUMENT, "--nonsense")
        self.assert_said_once(self.run_processes(3, *self.arguments(prompt=None)), INVALID_ARGUMENT, "--prompt")
        self.assert_said_once(self.run_processes(2, *self.arguments(checkpoint="nowhere")), BAD_FILE, "nowhere")
        self.assert_said_once(self.run_processes(2, *self.arguments(ulysses_size="1")), INVALID_ARGUMENT, "--ulysses_size", "2 processes")
        self.assert_said_once(self.run_processes(2, *self.arguments(ulysses_size="5")), INVALID_ARGUMENT, "5 ranks", "4 attention heads")
        self.assertEqual(self.names(), [])

    def test_other_commands_are_the_first_process_s(self):
        done = self.run_processes(2, "--version")
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 1), done.stderr)

    def test_a_launcher_that_connects_nobody(self):
        step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}
        self.assert_refused(self.run_wan(*self.arguments(), env=step), UNSUPPORTED, "srun", "pmix")
        other = {"PMI_SIZE": "2", "PMI_RANK": "0", **AS_ROOT}
        result = self.run_wan(*self.arguments(), env=other)
        self.assertEqual((result.status, len(errors(result.err))), (UNSUPPORTED, 1), result.err)
        self.assertIn("another MPI", result.err)

    def test_a_plain_start_loads_no_mpi(self):
        result = self.run_wan(*self.arguments(save_file="plain.png", frame_num="1"), env={"LD_DEBUG": "files"})
        self.assertEqual(result.status, 0)
        self.assertIn("libstdc++", result.err)
        self.assertNotIn("libmpi", result.err)
        self.assertNotIn("libwan_mpi", result.err)

    @unittest.skipUnless(may_mount(), "needs root and unshare")
    def test_a_checkpoint_that_is_missing_or_another_on_one_machine(self):
        here = self.folder / "here"
        shutil.copytree(DEMO, here)
        other = self.folder / "other"
        shutil.copytree(DEMO, other)
        weights = sorted((other / "low_noise_model").glob("*.safetensors"))[0]
        data = bytearray(weights.read_bytes())
        data[len(data) // 8:] = bytes(byte ^ 1 for byte in data[len(data) // 8:])
        weights.write_bytes(data)
        for mount, word in ((f"-t tmpfs none {here}", "lacks high_noise_model"), (f"--bind {other} {here}", "other weights")):
            with self.subTest(mount=mount):
                arguments = self.arguments(checkpoint=here, save_file="a.png", frame_num="1")
                done = subprocess.run([*MPI, "-np", "1", WAN, *arguments, ":", "-np", "1", "unshare", "-m", "sh", "-c",
                                       f'mount {mount} && exec "$@"', "sh", WAN, *arguments], cwd=self.folder, env=self.environment(),
                                      capture_output=True, text=True, timeout=120, check=False)
                self.assert_said_once(done, BAD_FILE, "(process 1)", word)


class Ends(ProcessesTest):
    def assert_goes_on(self):
        header = "long_%05d.png.latents.safetensors"
        self.assertIn(header, self.names())
        result = self.run_wan("generate", "--ckpt_dir", DEMO, "--from_latents", header, "--device", "cpu", "--plan")  # checks it
        self.assertEqual(result.status, 0, result.err)

    def test_one_that_is_killed_ends_all_and_the_state_is_kept(self):
        run = self.start(3, *self.arguments(**self.LONG))
        since = time.monotonic()
        os.kill(process_of_rank(2), signal.SIGKILL)
        out, err = run.communicate(timeout=60)
        self.assertNotEqual(run.returncode, 0)
        self.assertLess(time.monotonic() - since, 30, err)
        self.assertIn("--from_latents", out)
        self.assert_goes_on()

    def test_one_that_stalls_ends_all_and_is_named(self):
        run = self.start(2, *self.arguments(**self.LONG))
        since = time.monotonic()
        stalled = process_of_rank(1)
        os.kill(stalled, signal.SIGSTOP)
        try:
            event = json.loads(run.stdout.readlines()[-1])
        finally:
            os.kill(stalled, signal.SIGKILL)
        run.communicate(timeout=60)
        self.assertLess(time.monotonic() - since, 45)
        self.assertEqual((event["event"], event["code"]), ("error", "device"))
        self.assertIn("process 1", event["message"])
        self.assertIn("has not answered", event["message"])
        self.assert_goes_on()

    def test_the_first_one_that_is_killed_leaves_nobody(self):
        run = self.start(2, *self.arguments(**self.LONG))
        os.kill(process_of_rank(0), signal.SIGKILL)
        run.communicate(timeout=30)
        with self.assertRaises(AssertionError):
            process_of_rank(1)

    def test_control_c_keeps_the_state_and_one_goes_on_with_it(self):
        options = {**self.LONG, "sample_steps": "100", "size": "112*112", "frame_num": "9"}
        expected = self.alone("uncut", **{name: value for name, value in options.items() if name not in ("save_file", "json")})
        run = self.start(2, *self.arguments(**options))
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
        self.assertIn("stopped on request", out, err)
        self.assert_goes_on()
        result = self.run_wan("generate", "--ckpt_dir", DEMO, "--from_latents", "long_%05d.png.latents.safetensors", "--device", "cpu",
                              "--dump", "on")
        self.assertEqual(result.status, 0, result.err)
        self.assertLess(relative_rms(read_npy(self.folder / "on/latents.npy").values, expected["latents.npy"].values), 10 * CLOSE)

    def test_two_go_on_with_what_one_has_kept(self):
        options = {"sample_steps": "30", "sample_solver": "euler"}
        expected = self.alone("uncut", **options)
        with subprocess.Popen([WAN, *self.arguments(save_file="cut_%05d.png", json=True, **options)], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, text=True) as wan:
            next(line for line in wan.stdout if '"step":3,' in line)
            wan.send_signal(signal.SIGINT)
            wan.stdout.read()
            self.assertEqual(wan.wait(30), CANCELLED)
        done = self.run_processes(2, "generate", "--ckpt_dir", DEMO, "--from_latents", "cut_%05d.png.latents.safetensors", "--device",
                                  "cpu", "--dump", "on")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(relative_rms(read_npy(self.folder / "on/latents.npy").values, expected["latents.npy"].values), 10 * CLOSE)


@unittest.skipUnless(may_make_namespaces(), "two machines need root, ip (iproute2) and unshare")
class TwoMachines(ProcessesTest):
    def setUp(self):
        super().setUp()
        number = os.getpid() % 100000
        self.spaces = [f"wan{number}a", f"wan{number}b"]
        for space in self.spaces:
            subprocess.run(["ip", "netns", "add", space], check=True)
            self.addCleanup(subprocess.run, ["ip", "netns", "delete", space], check=True)
        a, b = self.spaces
        subprocess.run(["ip", "link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b], check=True)
        for number, space in enumerate(self.spaces, 1):
            for words in (["addr", "add", f"10.77.0.{number}/24", "dev", "wire"], ["link", "set", "lo", "up"], ["link", "set", "wire", "up"]):
                subprocess.run(["ip", "-n", space, *words], check=True)
        # What mpirun starts its daemon on the other machine with, in place of ssh: agent HOST COMMAND.
        agent = self.folder / "agent"
        agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {b} unshare --uts sh -c \'hostname nodeb; exec sh -c "$*"\' sh "$@"\n')
        agent.chmod(0o755)
        self.launch = ["ip", "netns", "exec", a, "unshare", "--uts", "sh", "-c", 'hostname nodea; exec "$@"', "sh", *MPI,
                       "--mca", "plm_rsh_agent", str(agent), "--host", "10.77.0.1:2,10.77.0.2:2", "--map-by", "node",
                       "-x", "WAN_TEST", "-x", "OMP_WAIT_POLICY"]

    def start_here(self, count, *arguments):
        run = subprocess.Popen([*self.launch, "-np", str(count), WAN, *map(os.fspath, arguments)], cwd=self.folder,
                               env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.wait, 60)
        return run

    def test_they_make_the_video_of_one(self):
        expected = self.of_one()
        for count, ranks in ((2, 2), (2, 4), (4, 4), (4, None)):  # None: halves, on both machines each
            with self.subTest(processes=count, ranks=ranks):
                name = f"by{count}_{ranks}"
                run = self.start_here(count, *self.arguments(dump=name, save_file=f"{name}_%05d.png", ulysses_size=ranks))
                _, err = run.communicate(timeout=120)
                self.assertEqual(run.returncode, 0, err)
                self.assert_same_video(self.made(name), expected)

    def test_keys_and_values_go_round_them(self):
        def reason(count, **options):
            run = self.start_here(count, *self.arguments(plan=True, json=True, **options))
            out, err = run.communicate(timeout=60)
            self.assertEqual(run.returncode, 0, err)
            return json.loads(out)["layout_reason"]

        ring = "; keys and values go round 2 machines"
        self.assertEqual(reason(2, ulysses_size=4), "asked for" + ring)
        self.assertEqual(reason(4, ulysses_size=4), "asked for" + ring, "a and b take turns")
        self.assertEqual(reason(3, ulysses_size=3), "asked for", "two of three ranks are on a")
        # The halves of two ranks are a machine each; those of four are on both.
        self.assertEqual(reason(2), "every step has two passes")
        self.assertEqual(reason(4), "every step has two passes" + ring)

    def test_a_cable_that_is_pulled_ends_both(self):
        run = self.start_here(2, *self.arguments(**self.LONG))
        next(line for line in run.stdout if '"step":2,' in line)
        since = time.monotonic()
        subprocess.run(["ip", "-n", self.spaces[1], "link", "set", "wire", "down"], check=True)
        event = next(json.loads(line) for line in run.stdout if '"error"' in line)  # mpirun itself still waits for its daemon
        self.assertLess(time.monotonic() - since, 30)
        self.assertEqual((event["event"], event["code"]), ("error", "device"))
        self.assertIn("nodeb", event["message"])
        self.assertIn("long_%05d.png.latents.safetensors", self.names())
        run.kill()
        for line in subprocess.run(["ip", "netns", "pids", self.spaces[1]], capture_output=True, text=True, check=True).stdout.split():
            os.kill(int(line), signal.SIGKILL)
        run.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
