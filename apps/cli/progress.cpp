#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/untrusted_text.h"

namespace wan {

namespace {

const char* title(Phase phase) {
  switch (phase) {
    case Phase::kDownload:
      return "download";
    case Phase::kExtend:
      return "extend";
    case Phase::kPreprocess:
      return "preprocess";
    case Phase::kLoad:
      return "load";
    case Phase::kAudio:
      return "audio";
    case Phase::kImage:
      return "image";
    case Phase::kText:
      return "text";
    case Phase::kHighNoise:
      return "high noise";
    case Phase::kLowNoise:
      return "low noise";
    case Phase::kDenoise:
      return "denoise";
    case Phase::kDecode:
      return "decode";
    case Phase::kEncode:
      break;
  }
  return "encode";
}

/// "5/12 steps" or "120/340 MB"
std::string amount(const PhaseProgress& event) {
  switch (event.phase) {
    case Phase::kDownload:
    case Phase::kLoad:
      return fmt::format("{:.0f}/{:.0f} MB", static_cast<double>(event.done) * 1e-6,
                         static_cast<double>(event.total) * 1e-6);
    case Phase::kHighNoise:
    case Phase::kLowNoise:
    case Phase::kDenoise:
      return fmt::format("step {}/{}", event.step, event.steps);
    case Phase::kExtend:
      return fmt::format("{}/{} tokens", event.done, event.total);
    case Phase::kPreprocess:
      return fmt::format("{}/{} frames", event.done, event.total);
    case Phase::kText:
      return fmt::format("{}/{} prompts", event.done, event.total);
    case Phase::kAudio:
      return fmt::format("{}/{} layers", event.done, event.total);
    case Phase::kImage:
    case Phase::kDecode:
    case Phase::kEncode:
      break;
  }
  return fmt::format("{}/{} frames", event.done, event.total);
}

std::string speed(const PhaseProgress& event) {
  if (event.done == 0 || event.seconds <= 0) return "";
  const double rate = static_cast<double>(event.done) / event.seconds;
  if (event.phase == Phase::kLoad || event.phase == Phase::kDownload)
    return fmt::format("{:.0f} MB/s", rate * 1e-6);
  if (event.phase == Phase::kPreprocess || event.phase == Phase::kImage || event.phase == Phase::kDecode ||
      event.phase == Phase::kEncode)
    return fmt::format("{:.1f} frames/s", rate);
  if (event.phase == Phase::kExtend) return fmt::format("{:.1f} tokens/s", rate);
  return fmt::format("{:.2f} s each", 1.0 / rate);
}

/// "560 TF/s", "48 GF/s"; empty for none.
std::string rate(double flops_per_second) {
  if (flops_per_second <= 0) return "";
  if (flops_per_second < 1e12) return fmt::format("{:.3g} GF/s", flops_per_second * 1e-9);
  return fmt::format("{:.3g} TF/s", flops_per_second * 1e-12);
}

constexpr double gigabytes(std::int64_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

/// "38.1/141 GB, peak 39.0  GPU 98%", as far as it is known; of several GPUs "8 GPUs, the fullest 38.1/141 GB, peak 39.0  GPU 91-98%".
std::string device_text(const std::vector<DeviceUse>& devices) {
  const auto fullest = std::ranges::max_element(
      devices, {}, [](const DeviceUse& use) { return gigabytes(use.used) / gigabytes(use.total); });
  std::string text = devices.size() == 1 ? "" : fmt::format("{} GPUs, the fullest ", devices.size());
  text += fmt::format("{:.1f}/{:.0f} GB, peak {:.1f}", gigabytes(fullest->used), gigabytes(fullest->total),
                      gigabytes(fullest->peak));
  std::vector<int> busy;  // per cent
  for (const DeviceUse& use : devices)
    if (use.utilization) busy.push_back(static_cast<int>(std::lround(100 * *use.utilization)));
  if (busy.empty()) return text;
  const auto [least, most] = std::ranges::minmax(busy);
  return text + (least == most ? fmt::format("  GPU {}%", most) : fmt::format("  GPU {}-{}%", least, most));
}

/// "560 TF/s  38.1/141 GB, peak 39.0  GPU 98%  waited 0.12 s for other ranks", as far as it is known.
std::string device_facts(const PhaseProgress& event) {
  std::string text = rate(event.flops_per_second);
  const auto add = [&](const std::string& fact) { text += (text.empty() ? "" : "  ") + fact; };
  if (!event.devices.empty()) add(device_text(event.devices));
  if (event.waited) add(fmt::format("waited {:.2f} s for other ranks", event.waited->first));
  return text;
}

std::string bar(std::int64_t done, std::int64_t total, int width) {
  const int filled = total > 0 ? static_cast<int>(done * width / total) : width;
  std::string text;
  for (int i = 0; i < width; ++i) text += i < filled ? "━" : "─";
  return text;
}

/// Columns of the terminal that `stream` is; many where that is unknown.
int columns_of(std::FILE* stream) {
  winsize size{};
  return ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 1000;
}

/// A line within `columns`, for one that wraps cannot be redrawn: the bar shrinks first, then what is least needed goes.
std::string line_within(int columns, const PhaseProgress& event, const std::string& remaining) {
  constexpr int kWidestBar = 24;
  constexpr int kNarrowestBar = 4;
  const std::string name = fmt::format("{:<10} ", title(event.phase));
  const std::string needed = fmt::format("{}  {}  {}", amount(event), speed(event), remaining);
  const std::string device = device_facts(event);
  const bool fits =
      static_cast<int>(name.size() + needed.size() + device.size()) + 4 + kNarrowestBar <= columns;
  const std::string facts = device.empty() || !fits ? needed : needed + "  " + device;
  const int room = columns - static_cast<int>(name.size() + facts.size() + 2);
  if (room >= kNarrowestBar)
    return name + bar(event.done, event.total, std::min(room, kWidestBar)) + "  " + facts;
  const auto width = static_cast<std::size_t>(std::max(columns, 0));
  if ((name + facts).size() <= width) return name + facts;
  return fmt::format("{} {}  {}", title(event.phase), amount(event), remaining).substr(0, width);
}

}  // namespace

std::string duration(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds < 60) return fmt::format("{:.0f} s", seconds);
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole % 3600 / 60);
}

bool can_redraw_lines(std::FILE* stream) {
  const char* const terminal = std::getenv("TERM");
  return ::isatty(::fileno(stream)) == 1 && terminal != nullptr && *terminal != '\0' &&
         std::string_view(terminal) != "dumb";
}

void ProgressDisplay::operator()(const Event& event) {
  std::visit([this](const auto& e) { show(e); }, event);
}

void ProgressDisplay::end_line() {
  if (open_line_) write_note(stream_, "\n");
  open_line_ = false;
}

void ProgressDisplay::show(const PhaseStarted& event) {
  // What is left to encode after the last frame is short: decode's bar stays, encode tells its end only.
  if (event.phase == Phase::kEncode) return;
  end_line();
  phase_ = event.phase;
  last_drawn_ = {};
}

void ProgressDisplay::show(const PhaseProgress& event) {
  if (event.phase == Phase::kEncode || event.phase != phase_) return;
  const Clock::time_point now = Clock::now();
  const bool last = event.done == event.total;
  const double interval = terminal_ ? 0.05 : 10.0;
  if (!last && std::chrono::duration<double>(now - last_drawn_).count() < interval) return;
  last_drawn_ = now;
  const double left = event.done > 0 ? event.seconds / static_cast<double>(event.done) *
                                           static_cast<double>(event.total - event.done)
                                     : 0;
  const std::string remaining = last ? duration(event.seconds) : duration(left) + " left";
  if (terminal_) {
    print("\r\033[K{}", line_within(columns_of(stream_) - 1, event, remaining));
    open_line_ = true;
  } else {
    const std::string device = device_facts(event);
    print("{}: {}, {}, {}{}{}\n", title(event.phase), amount(event), speed(event), remaining,
          device.empty() ? "" : ", ", device);
  }
}

void ProgressDisplay::show(const PhaseFinished& event) {
  if (event.phase == Phase::kEncode) return;
  end_line();
}

void ProgressDisplay::show(const Notice& event) {
  end_line();
  print("note: {}\n", shown_message(event.message));
}

void ProgressDisplay::show(const PromptExtended& event) {
  end_line();
  print("extended by {}: {}\n", shown(event.model), shown(event.prompt));
}

void ProgressDisplay::show(const RunSettings& event) {
  end_line();
  for (const auto& [key, value] : event.values)
    if (!value.empty()) print("{:<18} {}\n", shown(key), shown(value));
}

void ProgressDisplay::show(const Finished& event) {
  end_line();
  std::string device;
  if (event.devices.size() > 1) {
    for (const DeviceUse& use : event.devices)
      device += fmt::format("{}{:.2f}", device.empty() ? " and " : ", ", gigabytes(use.peak));
    device += " GB of the GPUs'";
  } else if (event.peak_device_bytes > 0) {
    device = fmt::format(" and {:.2f} GB of the GPU's", gigabytes(event.peak_device_bytes));
  }
  std::string phases;
  for (const PhaseTime& time : event.phases)
    phases += fmt::format("{}{} {}", phases.empty() ? "" : ", ", title(time.phase), duration(time.seconds));
  if (event.flops_per_second > 0) phases += fmt::format("; steps at {}", rate(event.flops_per_second));
  if (!phases.empty()) print("{}\n", phases);
  print("saved {} ({} frame{}) in {}, at most {:.2f} GB of memory{}\n", shown(event.save_file), event.frames,
        event.frames == 1 ? "" : "s", duration(event.seconds), gigabytes(event.peak_host_bytes), device);
}

}  // namespace wan
