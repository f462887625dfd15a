// wan bench: speed and memory of the models' phases with random weights.

#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "base/error.h"
#include "commands.h"
#include "json/json_text.h"
#include "output.h"
#include "wan/benchmark.h"
#include "wan/version.h"

namespace wan {

namespace {

struct BenchOptions {
  BenchmarkOptions benchmark;
  std::string size;
  std::vector<std::string> phases = {"all"};
  bool json = false;
};

/// The command that measures the same rows again.
std::string command_line(const BenchOptions& o) {
  const BenchmarkOptions& b = o.benchmark;
  std::string line = fmt::format(
      "wan bench --task {} --size {} --frame_num {} --device {} --phases {} --vae_precision {} --repeats {} "
      "--warmup {}",
      b.task, format_video_size(b.size), b.frame_num, b.device, fmt::join(o.phases, ","), b.vae_precision,
      b.repeats, b.warmup);
  if (!b.precision.empty()) line += " --precision " + b.precision;
  if (b.num_layers > 0) line += fmt::format(" --num_layers {}", b.num_layers);
  if (b.memory_limit > 0) line += fmt::format(" --memory_limit {}B", b.memory_limit);
  if (b.threads > 0) line += fmt::format(" --threads {}", b.threads);
  if (!b.gpus.empty())
    line += fmt::format(" --gpus {}{}", fmt::join(b.gpus, ","), b.gpus.size() == 1 ? "," : "");
  if (b.ulysses_size > 0) line += fmt::format(" --ulysses_size {}", b.ulysses_size);
  if (b.guidance_parallel != "auto") line += " --guidance_parallel " + b.guidance_parallel;
  if (b.p2p != "auto") line += " --p2p " + b.p2p;
  return line;
}

nlohmann::ordered_json as_json(const BenchmarkRow& row, const BenchmarkResult& result) {
  const auto [least, most] = std::minmax_element(row.seconds.begin(), row.seconds.end());
  return {{"phase", row.phase},
          {"precision", row.precision},
          {"median_seconds", row.median_seconds()},
          {"least_seconds", *least},
          {"most_seconds", *most},
          {"seconds", row.seconds},
          {"load_seconds", row.load_seconds},
          {"flops", row.flops},
          {"flops_per_second", row.flops_per_second()},
          {"share_of_product", row.flops_per_second() / result.product_flops_per_second},
          {"weight_bytes", row.weight_bytes},
          {"peak_device_bytes", row.peak_device_bytes},
          {"device_used_bytes", row.device_used_bytes},
          {"peak_host_bytes", row.peak_host_bytes},
          {"non_finite", row.non_finite}};
}

nlohmann::ordered_json as_json(const BenchOptions& options, const BenchmarkResult& result) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const BenchmarkRow& row : result.rows) rows.push_back(as_json(row, result));
  const BenchmarkOptions& o = options.benchmark;
  return {{"version", version()},
          {"command", command_line(options)},
          {"device", result.device},
          {"ranks", result.ranks},
          {"task", o.task},
          {"size", format_video_size(o.size)},
          {"frame_num", o.frame_num},
          {"num_layers", o.num_layers},
          {"tokens", result.tokens},
          {"ceilings",
           {{"product_precision", result.product_precision},
            {"product_flops_per_second", result.product_flops_per_second},
            {"copy_bytes_per_second", result.copy_bytes_per_second}}},
          {"device_total_bytes", result.device_total_bytes},
          {"rows", rows}};
}

std::string as_text(const BenchOptions& options, const BenchmarkResult& result) {
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * 1e-9; };
  std::string text = fmt::format(
      "{}\n{} on {}{}, {} tokens; ceilings of this run: {} product {:.3g} TF/s, copy {:.3g} TB/s\n"
      "{:<8} {:<5} {:>9} {:>19} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}\n",
      command_line(options), options.benchmark.task, result.device,
      result.ranks > 1 ? fmt::format(" and {} more", result.ranks - 1) : "", result.tokens,
      result.product_precision, result.product_flops_per_second * 1e-12, result.copy_bytes_per_second * 1e-12,
      "phase", "", "median s", "least to most", "PFLOP", "TF/s", "ceiling", "GB device", "GB in use",
      "GB host", "load s");
  for (const BenchmarkRow& row : result.rows) {
    const auto [least, most] = std::minmax_element(row.seconds.begin(), row.seconds.end());
    text += fmt::format(
        "{:<8} {:<5} {:9.4f} {:>19} {:9.4g} {:8.3g} {:7.0f}% {:9.2f} {:9.2f} {:9.2f} {:9.2f}\n", row.phase,
        row.precision, row.median_seconds(), fmt::format("{:.4f} to {:.4f}", *least, *most),
        static_cast<double>(row.flops) * 1e-15, row.flops_per_second() * 1e-12,
        100 * row.flops_per_second() / result.product_flops_per_second, gb(row.peak_device_bytes),
        gb(row.device_used_bytes), gb(row.peak_host_bytes), row.load_seconds);
  }
  return text;
}

void run_bench(BenchOptions& options) {
  BenchmarkOptions& o = options.benchmark;
  struct Usual {
    VideoSize size{832, 480};
    int frame_num = 81;
  } usual;
  if (o.task == "ti2v-5B") usual = {{1280, 704}, 121};
  if (o.task == "s2v-14B") usual = {{1024, 704}, 80};
  if (o.task == "animate-14B") usual = {{1280, 720}, 77};
  o.size = options.size.empty() ? usual.size : parse_video_size(options.size);
  if (o.frame_num == 0) o.frame_num = usual.frame_num;
  if (options.phases != std::vector<std::string>{"all"}) o.phases = options.phases;
  const BenchmarkResult result = run_benchmark(o, [](const BenchmarkRow& row) {
    write_note(stderr, fmt::format("{}: {:.4f} s\n", row.phase, row.median_seconds()));
  });
  if (options.json) {
    write_json(json_text(as_json(options, result), 1));
  } else {
    write_output(as_text(options, result));
  }
  for (const BenchmarkRow& row : result.rows)
    WAN_CHECK(row.non_finite == 0, kInternal, "{} gave {} values that are not finite: its time says nothing",
              row.phase, row.non_finite);
}

}  // namespace

Command add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure speed and memory of a task's models at full size with random weights, without a checkpoint");
  const auto options = std::make_shared<BenchOptions>();
  BenchmarkOptions& o = options->benchmark;
  o.frame_num = 0;
  const auto number = [&](const char* name, int& target, const char* description) {
    return command
        ->add_option_function<std::string>(
            name, [&target, name](const std::string& text) { target = parse_number<int>(name, text); },
            description)
        ->type_name("INT");
  };
  command->add_option("--task", o.task, "t2v-A14B, i2v-A14B, ti2v-5B, s2v-14B or animate-14B")
      ->capture_default_str();
  command->add_option(
      "--size", options->size,
      "Width*height in pixels (832*480; ti2v-5B: 1280*704; s2v-14B: 1024*704; animate-14B: 1280*720)");
  number("--frame_num", o.frame_num,
         "Frames, 4n+1 (81; ti2v-5B: 121; animate-14B: a clip's, 77); s2v-14B: a clip's, 4n (80)");
  command
      ->add_option("--phases", options->phases,
                   "Of text, forward (one transformer pass), step (both of guidance's), decode, encode, with "
                   "commas between; or all. s2v-14B: of a later clip; first: a pass of a first one")
      ->type_name("TEXT")
      ->delimiter(',')
      ->default_str("all");
  command->add_option("--device", o.device, "cpu, cuda, cuda:N, or auto: a GPU where one is usable")
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--gpus", [&o](const std::string& text) { o.gpus = parse_gpus("--gpus", text); },
          "GPUs that work together: how many, or which, such as 0,2,3")
      ->type_name("TEXT");
  number("--ulysses_size", o.ulysses_size,
         "Ranks that divide a pass's tokens: as many GPUs, or parts of the CPU");
  command
      ->add_option("--guidance_parallel", o.guidance_parallel,
                   "on, off or auto: whether halves of the ranks run a step's two passes")
      ->capture_default_str();
  command->add_option("--p2p", o.p2p, "on, off or auto: whether GPUs read each other's memory")
      ->capture_default_str();
  command->add_option("--precision", o.precision, "fp32 or bf16 (default: fp32 on the CPU, bf16 on a GPU)");
  command->add_option("--vae_precision", o.vae_precision, "fp32 or bf16")->capture_default_str();
  number("--repeats", o.repeats, "Measured runs of each phase")->default_str("5");
  number("--warmup", o.warmup, "Runs before those that are measured")->default_str("1");
  number("--num_layers", o.num_layers, "Layers of transformer and text encoder (default: all)");
  command
      ->add_option_function<std::string>(
          "--memory_limit",
          [&o](const std::string& text) { o.memory_limit = parse_bytes("--memory_limit", text); },
          "Memory of the device to plan the VAE for, such as 16GB, a bare number is GB (default: what is "
          "free)")
      ->type_name("TEXT");
  number("--threads", o.threads, "Of the CPU (default: all cores)");
  command->add_flag("--json", options->json, "Everything as JSON");
  return [options] { run_bench(*options); };
}

}  // namespace wan
