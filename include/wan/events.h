#pragma once
// Events: what a running generation tells its caller. One stream feeds the terminal's bar, the program's JSON and servers.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace wan {

enum class Phase {
  kDownload,
  kExtend,
  kPreprocess,
  kLoad,
  kAudio,
  kImage,
  kText,
  kHighNoise,
  kLowNoise,
  kDenoise,
  kDecode,
  kEncode
};

/// "download", "extend", "preprocess", "load", "audio", "image", "text", "high_noise", "low_noise", "denoise" (a model with one transformer), "decode", "encode".
const char* phase_name(Phase phase);

/// A phase begins; `total` units follow (bytes for download and load, tokens for extend, at most, layers for audio, prompts for text, steps for denoising, frames otherwise, those of preprocess twice where masks are made).
/// Frames are encoded while later ones are decoded; the phase "encode" is what is left of that after the last frame, until the file is
/// whole.
struct PhaseStarted {
  Phase phase;
  std::int64_t total;
};

/// What a GPU does at a moment, in bytes.
struct DeviceUse {
  std::string name = {};                   // "cuda:2"
  std::int64_t used = 0;                   // by this engine
  std::int64_t peak = 0;                   // likewise, at most so far
  std::int64_t total = 0;                  // what the device has
  std::optional<double> utilization = {};  // 0 to 1, of all programs; nothing where the driver does not tell
};

/// Seconds of a step in which ranks had nothing to do until others came to an exchange, or the caller's handler was through.
struct StepWaits {
  double first = 0;    // rank 0's
  double longest = 0;  // of this process's ranks
};

/// `done` of `total` units are finished. A step's event also names the step of the whole run and its timestep.
struct PhaseProgress {
  Phase phase;
  std::int64_t done;
  std::int64_t total;
  double seconds;       // since the phase started
  int step = 0;         // from 1; denoising only
  int steps = 0;        // of the whole run; denoising only
  double timestep = 0;  // denoising only
  double flops_per_second =
      0;  // that the step achieved in products, attention and convolutions; denoising only
  std::vector<DeviceUse> devices = {};   // this process's GPUs, a rank's each; not while loading
  std::optional<StepWaits> waited = {};  // of several ranks; denoising only
};

struct PhaseFinished {
  Phase phase;
  double seconds;
};

struct PhaseTime {
  Phase phase;
  double seconds;
};

/// A fact worth telling: a deliberate choice, a fallback, where something is kept. Its text names members as an Error's does, and
/// spell_fields() spells them.
struct Notice {
  std::string message;
};

/// The video is made from another prompt than the given one.
struct PromptExtended {
  std::string given;
  std::string prompt;
  std::string model;  // that wrote it
};

/// Everything about the run that a person would want to repeat it with, in order: written into the video as well.
struct RunSettings {
  std::vector<std::pair<std::string, std::string>> values;
};

/// The video is whole under its final name.
struct Finished {
  std::string save_file;
  std::int64_t frames;
  double seconds;                       // of the whole generate() call
  std::int64_t peak_host_bytes;         // of the process
  std::int64_t peak_device_bytes = 0;   // of this engine on its GPU; 0 on the CPU
  std::vector<PhaseTime> phases = {};   // in the order in which they ended
  double flops_per_second = 0;          // of all steps; 0 where there was none
  std::vector<DeviceUse> devices = {};  // this process's GPUs, a rank's each
};

using Event =
    std::variant<PhaseStarted, PhaseProgress, PhaseFinished, Notice, PromptExtended, RunSettings, Finished>;

/// Called from one thread at a time: that which runs generate(), or the first of its ranks. What it throws, of whatever type, ends the
/// run like any failure.
using EventHandler = std::function<void(const Event&)>;

/// One JSON object without newline: {"event": "phase_started", "phase": "load", "total": 123, ...}.
std::string to_json(const Event& event);

}  // namespace wan
