#pragma once
// Measuring the models' speed and memory at real shapes with random weights, which need no download: `wan bench`.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "wan/request.h"

namespace wan {

struct BenchmarkOptions {
  std::string task = "t2v-A14B";
  VideoSize size{832, 480};
  int frame_num = 81;
  // As EngineOptions:
  std::string device = "auto";
  std::vector<int> gpus = {};
  int ulysses_size = 0;
  std::string guidance_parallel = "auto";  // of "step"
  std::string p2p = "auto";
  int threads = 0;
  std::string precision = {};  // of the weights: "fp32", "bf16"; empty: bf16 on a GPU, fp32 on the CPU
  std::string vae_precision = "fp32";  // or "bf16"
  /// Of "text" (a prompt of 512 tokens), "forward" (one pass of one transformer, one guidance branch), "step" (both branches, and both
  /// predictions on every rank), "decode", "encode" (a whole clip; of speech a later one: with the frames before it, which alone are
  /// encoded), and of speech "first" (a pass of a first clip, which has none before it); text, first, forward, step, decode, encode
  /// whatever the order here.
  std::vector<std::string> phases = {"text", "forward", "step", "decode", "encode"};
  int repeats = 5;
  int warmup = 1;                 // repeats before those that count
  int num_layers = 0;             // of transformer and text encoder; 0: the published models'
  std::int64_t memory_limit = 0;  // bytes of the device to plan the VAE for; 0: what is free
};

/// One phase, its models alone in memory; of several ranks the first one's, which wait for one another before and after.
struct BenchmarkRow {
  std::string phase;
  std::string precision;          // of the phase's weights
  std::vector<double> seconds;    // a repeat each, in order
  double load_seconds = 0;        // making the weights
  std::int64_t flops = 0;         // of one repeat: products, attention, convolutions
  std::int64_t weight_bytes = 0;  // in the device's memory (the host's on the CPU) before the first repeat
  std::int64_t peak_device_bytes = 0;  // most that the backend gave out at once; 0 on the CPU
  std::int64_t device_used_bytes =
      0;  // of the whole device after the last repeat, CUDA itself included; 0 on the CPU
  std::int64_t peak_host_bytes = 0;  // of the process so far
  std::int64_t non_finite = 0;       // values of the result that are no numbers

  double median_seconds() const;
  double flops_per_second() const { return static_cast<double>(flops) / median_seconds(); }
};

struct BenchmarkResult {
  std::string device;  // "cpu", "cuda:0", of the first rank
  int ranks = 1;
  std::int64_t tokens = 0;  // of the transformer's sequence
  std::string product_precision;
  double product_flops_per_second = 0;  // ceiling: one large product in the weights' precision
  double copy_bytes_per_second = 0;     // ceiling: a copy of memory, read and written bytes counted
  std::int64_t device_total_bytes = 0;  // 0 on the CPU
  std::vector<BenchmarkRow> rows;
};

/// Runs the phases one after another; `on_row` is called as each is done. Throws InvalidArgument for options that no model
/// takes, Unsupported for a device that cannot be used and OutOfMemory.
BenchmarkResult run_benchmark(const BenchmarkOptions& options,
                              const std::function<void(const BenchmarkRow&)>& on_row = {});

}  // namespace wan
