#include "doctor_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/untrusted_text.h"
#include "json/json_text.h"
#include "option_names.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

using Json = nlohmann::ordered_json;

double gb(std::int64_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

double gb(double bytes) {
  return bytes * 1e-9;
}

/// "13.0" of 13000.
std::string cuda_number(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// "9.19.0" of 91900, "2.27.7" of 22707.
std::string library_number(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

/// "62.1 s", "41.6 min", "3.2 h"
std::string rounded_time(double seconds) {
  if (seconds < 300) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

const char* verdict(bool equal) {
  return equal ? "data equal" : "DATA DIFFER";
}

std::string host_lines(const DoctorHost& host) {
  std::string text = fmt::format(
      "machine      {} processors, {} kernels; {:.1f} GB of memory, {:.1f} GB free for this process\n"
      "locking      {} by ulimit -l, of 67 MB a trial locked {:.0f}; CUDA's page-locked memory is not "
      "limited so\n",
      host.processors, host.instruction_set, gb(host.memory), gb(host.available),
      host.memory_lock_limit ? fmt::format("{:.1f} MB", static_cast<double>(*host.memory_lock_limit) * 1e-6)
                             : std::string("all"),
      static_cast<double>(host.lockable) * 1e-6);
  text += fmt::format("video files  {}\n", host.codecs.empty()
                                               ? "none: single frames as PNG"
                                               : fmt::format("mp4 of {}", fmt::join(host.codecs, ", ")));
  for (const auto& [name, value] : host.environment)
    text += fmt::format("environment  {}={}\n", name, shown(value));
  return text;
}

std::string cuda_lines(const DoctorCuda& cuda) {
  const std::string cards = cuda.cards == 0
                                ? "no NVIDIA card"
                                : fmt::format("{} NVIDIA card{}", cuda.cards, cuda.cards == 1 ? "" : "s");
  if (!cuda.built) return fmt::format("CUDA         none in this build; {} on this machine\n", cards);
  std::string text = fmt::format(
      "CUDA         {}; {}; this build needs CUDA {}, cuDNN {} or newer (loaded: {})\n", cards,
      cuda.driver_cuda > 0 ? fmt::format("driver {} runs CUDA {}",
                                         cuda.driver.empty() ? "of unknown version" : shown(cuda.driver),
                                         cuda_number(cuda.driver_cuda))
                           : std::string("no driver"),
      cuda_number(cuda.runtime), library_number(cuda.cudnn_built), library_number(cuda.cudnn));
  text +=
      cuda.nccl_reason.empty()
          ? fmt::format("processes    exchange between their GPUs by NCCL {}\n", library_number(cuda.nccl))
          : fmt::format("processes    exchange through the hosts' memory, by MPI: {}\n", cuda.nccl_reason);
  if (!cuda.reason.empty())
    text += fmt::format("             {}\n", shown_message(with_options(cuda.reason)));
  return text;
}

std::string device_line(const DoctorGpu& gpu) {
  std::string text = fmt::format("cuda:{:<7} {}, compute capability {}, {:.1f} of {:.1f} GB free", gpu.index,
                                 shown(gpu.name), gpu.capability, gb(gpu.free), gb(gpu.memory));
  if (gpu.pcie_most > 0)
    text += fmt::format("; PCIe {} with {} of {} lanes", gpu.pcie_generation, gpu.pcie_width, gpu.pcie_most);
  if (gpu.nvlinks > 0) text += fmt::format(", {} NVLinks", gpu.nvlinks);
  if (gpu.upload_bytes_per_second > 0)
    text += fmt::format("; {:.1f} GB/s from the host", gb(gpu.upload_bytes_per_second));
  return text + "\n";
}

std::string pair_line(const DoctorPair& pair) {
  const std::string ends = fmt::format("{} to {}", pair.from, pair.to);
  const std::string link = fmt::format("{}, {}", pair.link.empty() ? "unknown link" : pair.link,
                                       pair.peer_access ? "peer access" : "no peer access");
  if (!pair.failure.empty())
    return fmt::format("{:<12} {}: {}\n", ends, link, shown_message(with_options(pair.failure)));
  return fmt::format("{:<12} {}: {:.1f} GB/s, {}\n", ends, link, gb(pair.bytes_per_second),
                     verdict(pair.equal));
}

std::string exchange_line(const char* title, const DoctorExchange& exchange) {
  const std::string ranks = fmt::format("{} ranks on {}", exchange.ranks, exchange.devices);
  if (!exchange.failure.empty())
    return fmt::format("{:<12} {}: {}\n", title, ranks, shown_message(with_options(exchange.failure)));
  return fmt::format("{:<12} {}: {:.1f} GB/s to each, {}\n", title, ranks, gb(exchange.bytes_per_second),
                     verdict(exchange.equal));
}

std::string checkpoint_line(const DoctorCheckpoint& checkpoint) {
  std::string text = fmt::format("checkpoint   {}: {}", shown(checkpoint.path),
                                 checkpoint.task.empty() ? "none that can be used" : checkpoint.task);
  if (checkpoint.bytes > 0) text += fmt::format(", whole, {:.2f} GB", gb(checkpoint.bytes));
  if (checkpoint.read_bytes_per_second > 0)
    text += fmt::format("; its disk reads {:.2f} GB/s{}", gb(checkpoint.read_bytes_per_second),
                        checkpoint.cached ? ", or the page cache does" : "");
  return text + "\n";
}

std::string layout_name(const DoctorLayout& layout) {
  if (layout.gpus == 1) return "-";
  if (!layout.guidance_parallel) return fmt::format("Ulysses {}", layout.ulysses_size);
  return layout.ulysses_size == 1 ? "guidance 2"
                                  : fmt::format("guidance 2 x Ulysses {}", layout.ulysses_size);
}

std::string weights_name(const DoctorLayout& layout) {
  if (layout.weights == "as many as fit")
    return fmt::format("{} of {} fit", layout.block_places, layout.blocks);
  if (layout.weights == "partly sharded")
    return fmt::format("{}/{} sharded", layout.block_places, layout.blocks);
  return layout.weights;
}

std::string command_line(const DoctorVideo& video, const DoctorLayout& layout) {
  std::string checkpoint = "Wan2.2-" + video.task;
  std::transform(checkpoint.begin() + 7, checkpoint.begin() + 11, checkpoint.begin() + 7,
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string line = fmt::format("wan generate --task {} --ckpt_dir {} --size {}", video.task, checkpoint,
                                 format_video_size(video.size));
  const TaskFacts& task = find_task(video.task).facts();
  if (task.needs_image) line += " --image FILE";
  if (task.takes_sound) line += " --audio FILE";
  if (task.takes_source) line += " --src_root_path DIR";
  if (layout.gpus > 1)
    line += fmt::format(" --gpus {} --guidance_parallel {}", layout.gpus,
                        layout.guidance_parallel ? "on" : "off");
  if (layout.weights.ends_with("sharded")) line += " --dit_fsdp";
  if (layout.weights == "streamed") line += " --residency streamed";
  return line + " --prompt TEXT";
}

std::string layout_line(const DoctorLayout& layout) {
  const bool timed = layout.step_seconds > 0;
  std::string text = fmt::format("{} {:>4}  {:<22} {:<14} {:>7.1f} {:>6.1f} {:>6.1f} {:>6.1f} {:>6.1f}",
                                 layout.best ? '*' : ' ', layout.gpus, layout_name(layout),
                                 weights_name(layout), gb(layout.weight_bytes), gb(layout.activations),
                                 gb(layout.vae), gb(layout.peak), gb(layout.host_read_step));
  if (timed)
    text += fmt::format(" {:>9} {:>9}  {}", rounded_time(layout.step_seconds),
                        rounded_time(layout.video_seconds), layout.arithmetic);
  if (layout.vae_tile > 0) text += fmt::format("; tiles of {} pixels", layout.vae_tile);
  return text + "\n";
}

std::string video_lines(const DoctorVideo& video) {
  std::string text = fmt::format("\n{}, {}, {} frames, {} steps: {} tokens, {:.2f} PFLOP a pass\n",
                                 video.task, format_video_size(video.size), video.frames, video.steps,
                                 video.tokens, video.pass_flops * 1e-15);
  if (!video.arithmetic.empty()) text += "  " + video.arithmetic + "\n";
  if (video.layouts.empty()) return text + "  nothing fits; choose a smaller --size or --frame_num\n";
  const bool timed = video.layouts.front().step_seconds > 0;
  text += fmt::format("  {:>4}  {:<22} {:<14} {:>7} {:>6} {:>6} {:>6} {:>6}{}\n", "GPUs", "layout", "blocks",
                      "weights", "step", "VAE", "peak", "reads",
                      timed ? fmt::format(" {:>9} {:>9}", "a step", "a video") : "");
  for (const DoctorLayout& layout : video.layouts) text += layout_line(layout);
  for (const DoctorLayout& layout : video.layouts)
    if (layout.best) text += fmt::format("  {}\n", command_line(video, layout));
  return text;
}

std::string videos_text(const DoctorReport& report) {
  if (report.gpus.empty())
    return report.pretended ? "" : "\nNo GPU: what one would do, wan doctor --pretend \"A40 x2\" tells.\n";
  std::string text = fmt::format(
      "\nWhat fits on {}. In GB of one GPU: weights, what a step takes beside them, the VAE, the\n"
      "most at a time; and the weights (bf16) that it reads from the host in a step. Times are estimates, by "
      "the parts of such\n"
      "a GPU's ceilings that were measured or published, without loading and text. *: the fastest of so many "
      "GPUs, its command below.\n",
      shown(report.gpus));
  for (const DoctorVideo& video : report.videos) text += video_lines(video);
  return text;
}

std::string problem_lines(const DoctorReport& report) {
  std::string text;
  for (const DoctorProblem& problem : report.problems)
    text +=
        fmt::format("{}  {}\n             remedy: {}\n", problem.advice ? "advice     " : "PROBLEM    ",
                    shown_message(with_options(problem.what)), shown_message(with_options(problem.remedy)));
  return text;
}

Json host_json(const DoctorHost& host) {
  Json environment = Json::object();
  for (const auto& [name, value] : host.environment) environment[name] = value;
  return {{"processors", host.processors},
          {"instruction_set", host.instruction_set},
          {"memory", host.memory},
          {"available", host.available},
          {"memory_lock_limit", host.memory_lock_limit ? Json(*host.memory_lock_limit) : Json()},
          {"lockable", host.lockable},
          {"codecs", host.codecs},
          {"environment", environment}};
}

Json cuda_json(const DoctorCuda& cuda) {
  return {{"built", cuda.built},
          {"reason", with_options(cuda.reason)},
          {"driver", cuda.driver},
          {"driver_cuda", cuda.driver_cuda},
          {"runtime", cuda.runtime},
          {"cudnn", cuda.cudnn},
          {"cudnn_built", cuda.cudnn_built},
          {"nccl", cuda.nccl},
          {"nccl_reason", cuda.nccl_reason},
          {"between_processes", !cuda.built                ? ""
                                : cuda.nccl_reason.empty() ? "nccl"
                                                           : "mpi"},
          {"cards", cuda.cards}};
}

Json device_json(const DoctorGpu& gpu) {
  return {{"index", gpu.index},
          {"name", gpu.name},
          {"bus", gpu.bus},
          {"capability", gpu.capability},
          {"memory", gpu.memory},
          {"free", gpu.free},
          {"unusable", with_options(gpu.unusable)},
          {"pcie_generation", gpu.pcie_generation},
          {"pcie_width", gpu.pcie_width},
          {"pcie_most", gpu.pcie_most},
          {"nvlinks", gpu.nvlinks},
          {"upload_bytes_per_second", gpu.upload_bytes_per_second}};
}

Json pair_json(const DoctorPair& pair) {
  return {{"from", pair.from},
          {"to", pair.to},
          {"link", pair.link},
          {"peer_access", pair.peer_access},
          {"bytes_per_second", pair.bytes_per_second},
          {"equal", pair.equal},
          {"failure", with_options(pair.failure)}};
}

Json exchange_json(const std::optional<DoctorExchange>& exchange) {
  if (!exchange) return {};
  return {{"ranks", exchange->ranks},
          {"devices", exchange->devices},
          {"bytes_per_second", exchange->bytes_per_second},
          {"equal", exchange->equal},
          {"failure", with_options(exchange->failure)}};
}

Json layout_json(const DoctorVideo& video, const DoctorLayout& layout) {
  return {{"gpus", layout.gpus},
          {"guidance_parallel", layout.guidance_parallel},
          {"ulysses_size", layout.ulysses_size},
          {"weights", layout.weights},
          {"block_places", layout.block_places},
          {"blocks", layout.blocks},
          {"weight_bytes", layout.weight_bytes},
          {"activations", layout.activations},
          {"vae", layout.vae},
          {"peak", layout.peak},
          {"available", layout.available},
          {"vae_tile", layout.vae_tile},
          {"host_read_step", layout.host_read_step},
          {"step_seconds", layout.step_seconds},
          {"exchange_seconds", layout.exchange_seconds},
          {"waiting_seconds", layout.waiting_seconds},
          {"video_seconds", layout.video_seconds},
          {"arithmetic", layout.arithmetic},
          {"best", layout.best},
          {"command", command_line(video, layout)}};
}

Json video_json(const DoctorVideo& video) {
  Json layouts = Json::array();
  for (const DoctorLayout& layout : video.layouts) layouts.push_back(layout_json(video, layout));
  return {{"task", video.task},
          {"size", format_video_size(video.size)},
          {"frame_num", video.frames},
          {"sample_steps", video.steps},
          {"tokens", video.tokens},
          {"pass_flops", video.pass_flops},
          {"pass_seconds", video.pass_seconds},
          {"vae_seconds", video.vae_seconds},
          {"arithmetic", video.arithmetic},
          {"layouts", layouts}};
}

Json problem_json(const DoctorProblem& problem) {
  return {{"code", error_code_name(problem.code)},
          {"advice", problem.advice},
          {"what", with_options(problem.what)},
          {"remedy", with_options(problem.remedy)}};
}

template <typename Entries, typename Convert>
Json array_of(const Entries& entries, const Convert& convert) {
  Json array = Json::array();
  for (const auto& entry : entries) array.push_back(convert(entry));
  return array;
}

}  // namespace

std::string doctor_text(const DoctorReport& report) {
  std::string text;
  if (!report.pretended) {
    text += host_lines(report.host) + cuda_lines(report.cuda);
    for (const DoctorGpu& gpu : report.devices) text += device_line(gpu);
    for (const DoctorPair& pair : report.pairs) text += pair_line(pair);
    if (report.exchange) text += exchange_line("all to all", *report.exchange);
    if (report.exchange_by_host) text += exchange_line("--p2p off", *report.exchange_by_host);
  }
  if (report.checkpoint) text += checkpoint_line(*report.checkpoint);
  text += problem_lines(report);
  text += videos_text(report);
  if (text.starts_with('\n')) text.erase(0, 1);
  return text;
}

std::string doctor_json(const DoctorReport& report) {
  Json json = {{"pretended", report.pretended}, {"gpus", report.gpus}};
  if (!report.pretended) {
    json["host"] = host_json(report.host);
    json["cuda"] = cuda_json(report.cuda);
    json["devices"] = array_of(report.devices, device_json);
    json["pairs"] = array_of(report.pairs, pair_json);
    json["exchange"] = exchange_json(report.exchange);
    json["exchange_by_host"] = exchange_json(report.exchange_by_host);
  }
  if (const auto& checkpoint = report.checkpoint)
    json["checkpoint"] = {{"path", checkpoint->path},
                          {"task", checkpoint->task},
                          {"bytes", checkpoint->bytes},
                          {"read_file", checkpoint->read_file},
                          {"read_bytes_per_second", checkpoint->read_bytes_per_second},
                          {"cached", checkpoint->cached}};
  json["estimates"] = true;  // of what follows, every time
  json["videos"] = array_of(report.videos, video_json);
  json["problems"] = array_of(report.problems, problem_json);
  return json_text(json, 1);
}

}  // namespace wan
