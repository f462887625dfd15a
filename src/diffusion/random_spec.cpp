#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "diffusion/random.h"
#include "diffusion/torch_cuda_random.h"

namespace wan {

namespace {

struct KnownGpu {
  std::string_view name;
  CudaLaunchGrid grid;
};

// Multiprocessors as in NVIDIA's architecture whitepapers; threads per multiprocessor from the compute
// capability (CUDA C++ Programming Guide: 7.0, 8.0, 9.0, 10.0: 2048; 7.5: 1024; 8.6, 8.9, 12.0: 1536).
constexpr KnownGpu kKnownGpus[] = {
    {"V100", {80, 2048}},          {"T4", {40, 1024}},        {"A100", {108, 2048}},
    {"A30", {56, 2048}},           {"A40", {84, 1536}},       {"A10", {72, 1536}},
    {"RTX A6000", {84, 1536}},     {"RTX A5000", {64, 1536}}, {"RTX 3090", {82, 1536}},
    {"RTX 3090 Ti", {84, 1536}},   {"L4", {58, 1536}},        {"L40", {142, 1536}},
    {"L40S", {142, 1536}},         {"RTX 4080", {76, 1536}},  {"RTX 4090", {128, 1536}},
    {"RTX 6000 Ada", {142, 1536}}, {"H100 SXM", {132, 2048}}, {"H100 PCIe", {114, 2048}},
    {"H200", {132, 2048}},         {"B200", {148, 2048}},     {"RTX 5080", {84, 1536}},
    {"RTX 5090", {170, 1536}},
};

// The names by which the driver calls some of them, and the usual short form of the H100.
constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"H100", "H100 SXM"},
    {"H100 80GB HBM3", "H100 SXM"},
    {"A100-SXM4-40GB", "A100"},
    {"A100-SXM4-80GB", "A100"},
    {"A100-PCIE-40GB", "A100"},
    {"A100 80GB PCIe", "A100"},
    {"Tesla T4", "T4"},
    {"Tesla V100-SXM2-16GB", "V100"},
    {"Tesla V100-SXM2-32GB", "V100"},
    {"RTX 6000 Ada Generation", "RTX 6000 Ada"},
    {"A6000", "RTX A6000"},
};

constexpr std::string_view kCpuName = "torch-cpu";
constexpr std::string_view kCudaName = "torch-cuda";
constexpr int kMostMultiprocessors = 4096;
constexpr int kMostThreads = 4096;

// Lower case without spaces, dashes, underscores and the vendor's words.
std::string normalized(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (const std::string_view word : {"nvidia", "geforce"}) {
    if (result.starts_with(word)) result.erase(0, word.size());
  }
  return result;
}

const KnownGpu* find_gpu(std::string_view name) {
  std::string wanted = normalized(name);
  for (const auto& [alias, canonical] : kAliases) {
    if (normalized(alias) == wanted) wanted = normalized(canonical);
  }
  const auto* found = std::find_if(std::begin(kKnownGpus), std::end(kKnownGpus),
                                   [&](const KnownGpu& gpu) { return normalized(gpu.name) == wanted; });
  return found == std::end(kKnownGpus) ? nullptr : found;
}

bool parse_int(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// SMSxTHREADS, or nothing where the text does not have this form.
std::optional<CudaLaunchGrid> parse_grid(std::string_view text) {
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return std::nullopt;
  CudaLaunchGrid grid{};
  if (!parse_int(text.substr(0, cross), grid.multiprocessors) ||
      !parse_int(text.substr(cross + 1), grid.threads_per_multiprocessor)) {
    return std::nullopt;
  }
  WAN_CHECK(
      grid.multiprocessors >= 1 && grid.multiprocessors <= kMostMultiprocessors &&
          grid.threads_per_multiprocessor >= kCudaRandomBlock &&
          grid.threads_per_multiprocessor <= kMostThreads,
      kInvalidArgument,
      "`rng` torch-cuda:{}: expected 1 to {} multiprocessors and {} to {} threads of each, such as 132x2048, "
      "that of an H100",
      text, kMostMultiprocessors, kCudaRandomBlock, kMostThreads);
  return grid;
}

std::string known_names() {
  std::string names;
  for (const KnownGpu& gpu : kKnownGpus) names += fmt::format("{}{}", names.empty() ? "" : ", ", gpu.name);
  return names;
}

}  // namespace

RandomSpec parse_random_spec(std::string_view text, const CudaLaunchGrid& default_grid) {
  if (text == kCpuName) return {RandomKind::kTorchCpu, kDefaultCudaGrid};
  if (text == kCudaName) return {RandomKind::kTorchCuda, default_grid};
  WAN_CHECK(text.starts_with(kCudaName) && text[kCudaName.size()] == ':', kInvalidArgument,
            "`rng` {}: expected torch-cpu, torch-cuda, torch-cuda:SMSxTHREADS or torch-cuda:GPU name",
            shortened(text));
  const std::string_view wanted = text.substr(kCudaName.size() + 1);
  if (const auto grid = parse_grid(wanted)) return {RandomKind::kTorchCuda, *grid};
  if (const KnownGpu* gpu = find_gpu(wanted)) return {RandomKind::kTorchCuda, gpu->grid};
  fail(ErrorCode::kInvalidArgument,
       "`rng` torch-cuda:{}: expected a known GPU's name ({}), or its multiprocessors and threads of each, "
       "as in "
       "torch-cuda:132x2048",
       wanted, known_names());
}

std::string format_random_spec(const RandomSpec& spec) {
  if (spec.kind == RandomKind::kTorchCpu) return std::string(kCpuName);
  return fmt::format("{}:{}x{}", kCudaName, spec.grid.multiprocessors, spec.grid.threads_per_multiprocessor);
}

}  // namespace wan
