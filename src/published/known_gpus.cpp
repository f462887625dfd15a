#include "published/known_gpus.h"

#include <cctype>
#include <string>

#include "base/error.h"

namespace wan {

namespace {

using enum GpuClass;
using enum GpuLink;

// Those that the CUDA backend has code for. Ceilings are the vendor's data sheets': dense bf16 with sums in f32, which GeForce cards
// do at twice the rate of their f32 units.
constexpr KnownGpu kGpus[] = {
    {"RTX 3060", 12288, 25.5, 360, kGeForce, 0, kHost},
    {"RTX 3080", 10240, 59.5, 760, kGeForce, 0, kHost},
    {"RTX 3090", 24576, 71.2, 936, kGeForce, 56, kHost},
    {"RTX 4060 Ti 16GB", 16380, 44.1, 288, kGeForce, 0, kHost},
    {"RTX 4070", 12282, 58.3, 504, kGeForce, 0, kHost},
    {"RTX 4070 Ti SUPER", 16376, 88.2, 672, kGeForce, 0, kHost},
    {"RTX 4080", 16376, 97.5, 717, kGeForce, 0, kHost},
    {"RTX 4090", 24564, 165.2, 1008, kGeForce, 0, kHost},
    {"RTX 5070 Ti", 16303, 87.9, 896, kGeForce, 0, kHost},
    {"RTX 5080", 16303, 112.6, 960, kGeForce, 0, kHost},
    {"RTX 5090", 32607, 209.5, 1792, kGeForce, 0, kHost},
    {"RTX A6000", 49140, 154.8, 768, kWorkstation, 56, kPcie},
    {"RTX 6000 Ada", 49140, 364.2, 960, kWorkstation, 0, kPcie},
    {"RTX PRO 6000", 97887, 503.8, 1792, kWorkstation, 0, kPcie},
    {"A10", 23028, 125.0, 600, kWorkstation, 0, kPcie},
    {"A40", 46068, 149.7, 696, kWorkstation, 56, kPcie},
    {"A100-40GB", 40960, 312.0, 1555, kAmpereCentre, 300, kNvlink},
    {"A100-80GB", 81920, 312.0, 2039, kAmpereCentre, 300, kNvlink},
    {"L4", 23034, 121.0, 300, kWorkstation, 0, kPcie},
    {"L40", 46068, 181.1, 864, kWorkstation, 0, kPcie},
    {"L40S", 46068, 362.1, 864, kWorkstation, 0, kPcie},
    {"H100", 81559, 989.4, 3350, kHopperCentre, 450, kNvlink},
    {"H200", 143771, 989.4, 4800, kHopperCentre, 450, kNvlink},
    {"B200", 183359, 2250.0, 8000, kBlackwellCentre, 900, kNvlink},
};

/// Letters and digits, without what vendors put before, between and behind: "rtx4090", "a10080gb".
std::string key_of(std::string_view name) {
  std::string key;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const std::string_view word : {"nvidia", "geforce", "sxm4", "sxm5", "pcie", "hbm3", "generation",
                                      "blackwell", "workstation", "server", "edition"})
    if (const std::size_t at = key.find(word); at != std::string::npos) key.erase(at, word.size());
  return key;
}

/// "h10080gb" is the H100, whose memory is that large.
bool says_its_memory(const std::string& key, const KnownGpu& gpu) {
  const std::string rounded = std::to_string((gpu.mebibytes + 512) >> 10);
  return key == key_of(gpu.name) + rounded + "gb";
}

std::string known_names() {
  std::string names;
  for (const KnownGpu& gpu : kGpus) names += (names.empty() ? "" : ", ") + std::string(gpu.name);
  return names;
}

}  // namespace

const KnownGpu* find_known_gpu(std::string_view name) {
  const std::string key = key_of(name);
  for (const KnownGpu& gpu : kGpus)
    if (const std::string known = key_of(gpu.name);
        key == known || "rtx" + key == known || says_its_memory(key, gpu))
      return &gpu;
  return nullptr;
}

const KnownGpu& known_gpu(const char* member, std::string_view name, const char* expected) {
  const KnownGpu* const gpu = find_known_gpu(name);
  if (gpu == nullptr)
    fail(ErrorCode::kInvalidArgument, "{} {}: expected {}one of {}", member, name, expected, known_names());
  return *gpu;
}

}  // namespace wan
