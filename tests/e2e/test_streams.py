"""Standard streams that fail: a run goes on without its report, and what was asked for and lost is told."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import unittest

from support import CANCELLED, CHECKPOINT, IO, WAN, WanTest, environment, generate_arguments

LONG = {"size": "64*64", "frame_num": "17", "sample_steps": "1000", "sample_solver": "euler"}
KEPT = "video.mp4.latents.safetensors"


class Streams(WanTest):
    def shell(self, redirection, *arguments):
        """wan with this redirection of the shell's: `2>&-`."""
        return subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", WAN, *map(str, arguments)], cwd=self.folder,
                              env=environment(), capture_output=True, text=True, timeout=120, check=False)

    def test_progress_that_cannot_be_written(self):
        for redirection in ("2>/dev/full", "2>&-", ">&- 2>&- <&-"):
            with self.subTest(redirection):
                done = self.shell(redirection, *generate_arguments(save_file="video.mp4"))
                self.assertEqual(done.returncode, 0)
                self.assertEqual(self.names(), ["video.mp4"])
                video = (self.folder / "video.mp4").read_bytes()
                self.assertEqual(video[4:8], b"ftyp")
                self.assertNotIn(b"note:", video)
                (self.folder / "video.mp4").unlink()

    def test_terminal_that_closes(self):
        ours, theirs = pty.openpty()
        with subprocess.Popen([WAN, *generate_arguments(save_file="video.mp4")], cwd=self.folder, env=environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            os.read(ours, 1)
            os.close(ours)
            self.assertEqual(process.wait(timeout=120), 0)
        self.assertEqual(self.names(), ["video.mp4"])

    def progress_on_terminal(self, columns, term="xterm", **options):
        """Everything that a run writes to a terminal of this width and kind."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {key: value for key, value in environment({"TERM": term or ""}).items() if key != "TERM" or term is not None}
        with subprocess.Popen([WAN, *generate_arguments(save_file="f_%d.png", **options)], cwd=self.folder, env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            text = b""
            try:
                while chunk := os.read(ours, 4096):
                    text += chunk
            except OSError:  # the other side is closed
                pass
            os.close(ours)
            self.assertEqual(process.wait(timeout=120), 0)
        return text.decode("utf-8")

    def test_a_terminal_that_cannot_redraw_gets_plain_lines(self):
        for term in ("dumb", "", None):
            text = self.progress_on_terminal(80, term)
            self.assertIn("saved f_%d.png", text)
            self.assertRegex(text, "(?m)^decode: 5/5 frames, ")
            self.assertNotRegex(text.replace("\r\n", "\n"), "[\x00-\x09\x0b-\x1f\x7f━─]")  # the terminal's own line ends
        self.assertIn("\x1b[K", self.progress_on_terminal(80))

    def test_a_terminal_is_shown_no_escape_sequence_of_a_prompt(self):
        text = self.progress_on_terminal(80, prompt="a cat\x1b[31m\x07\nsaved nothing\u009b1m\u202e")
        self.assertIn(r"a cat\x1b[31m\x07\nsaved nothing\u009b1m\u202e", text)
        self.assertNotRegex(text, "\x1b\\[31m|[\x07\u009b\u202e]|(?m:^saved nothing)")

    def test_progress_fits_the_terminal(self):
        for columns in (200, 60, 40, 30, 12):
            lines = re.findall("\r\x1b\\[K([^\r\n]*)", self.progress_on_terminal(columns))
            self.assertGreater(len(lines), 3)
            for line in lines:
                self.assertLess(len(line), columns)
            bars = [len(re.sub("[^━─]", "", line)) for line in lines]
            self.assertEqual(max(bars), 24 if columns == 200 else max(bars))
            if columns <= 30:
                self.assertEqual(max(bars), 0)

    def interrupt_with(self, *signals):
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="video.mp4", **LONG)], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if json.loads(line).get("step", 0) == 3:
                    for number in signals:
                        process.send_signal(number)
            return process.wait(timeout=120)

    def test_hangup_keeps_the_steps(self):
        # The kernel and the shell each send one.
        self.assertEqual(self.interrupt_with(signal.SIGHUP, signal.SIGHUP), CANCELLED)
        self.assertEqual(self.names(), [KEPT])

    def test_nohup_is_left_alone(self):
        script = 'trap "" HUP; exec "$@"'
        with subprocess.Popen(["sh", "-c", script, "sh", WAN, *generate_arguments(json=True, save_file="video.mp4")],
                              cwd=self.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if json.loads(line).get("step", 0) == 1:
                    process.send_signal(signal.SIGHUP)
            self.assertEqual(process.wait(timeout=120), 0)
        self.assertEqual(self.names(), ["video.mp4"])

    def test_events_without_a_reader(self):
        with subprocess.Popen([WAN, *generate_arguments(json=True, save_file="video.mp4")], cwd=self.folder,
                              env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            process.stdout.close()
            error = process.stderr.read()
            self.assertEqual(process.wait(timeout=120), IO)
        self.assertEqual(self.names(), ["video.mp4"])
        self.assertIn("video.mp4 is whole", json.loads(error)["message"])

    def test_lost_output(self):
        generate = generate_arguments(json=True, save_file="video.mp4")
        for arguments in (["inspect", CHECKPOINT], ["inspect", CHECKPOINT, "--json"], ["--help"], ["--version"],
                          ["tokenize", "--ckpt_dir", CHECKPOINT, "--prompt", "a cat", "--json"], generate,
                          generate_arguments(plan=True)):
            for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
                with self.subTest(arguments=arguments, redirection=redirection):
                    done = self.shell(redirection, *arguments)
                    self.assertEqual(done.returncode, IO, done.stderr)
                    (line,) = done.stderr.splitlines()
                    self.assertIn(f"cannot write standard output: {reason}", line)
                    if "--json" in arguments:
                        self.assertEqual(json.loads(line)["code"], "io")
            self.assertEqual(self.names(), ["video.mp4"] if "--json" in arguments and arguments is generate else [])
            (self.folder / "video.mp4").unlink(missing_ok=True)

    def test_failed_run_with_lost_events_tells_its_error(self):
        done = self.shell(">/dev/full", *generate_arguments(json=True, size="33*32"))
        self.assertEqual(done.returncode, 64)
        self.assertIn("33*32", json.loads(done.stderr)["message"])


if __name__ == "__main__":
    unittest.main()
