"""What a training leaves in its state folder beside its results: its log, and what is needed to go on."""

import json
import time

from safetensors import safe_open
from safetensors.torch import load_file, save_file


class Log:
    """One JSON line an event, on the terminal and in the state folder."""

    def __init__(self, path):
        self.path, self.start = path, time.time()

    def __call__(self, line):
        text = json.dumps({"at": round(time.time() - self.start, 1), **line})
        print(text, flush=True)
        with open(self.path, "a") as file:
            file.write(text + "\n")


class Kept:
    """A model in training, as three files; they take their names together when all are written."""

    def __init__(self, folder, name):
        self.files = {part: folder / f"{name}.{part}.safetensors" for part in ("weights", "average", "moments")}

    def save(self, state, spent):
        parts = []
        for part, path in self.files.items():
            parts.append((path.with_suffix(".part"), path))
            tensors = {key: value.cpu().contiguous() for key, value in state[part].items()}
            save_file(tensors, parts[-1][0], metadata={"spent": str(spent)})
        for written, path in parts:
            written.rename(path)

    def load(self):
        """(state, seconds spent), or None where nothing was kept."""
        if not all(path.exists() for path in self.files.values()):
            return None
        with safe_open(self.files["weights"], framework="pt") as file:
            spent = float(file.metadata()["spent"])
        return {part: load_file(path) for part, path in self.files.items()}, spent

    def remove(self):
        for path in self.files.values():
            path.unlink(missing_ok=True)
