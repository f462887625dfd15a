#include "published/gpu_memory.h"

#include <cctype>
#include <string>

#include "base/error.h"

namespace wan {

namespace {

struct KnownGpu {
  const char* name;
  std::int64_t mebibytes;  // as nvidia-smi shows them
};

// Those that the CUDA backend has code for.
constexpr KnownGpu kGpus[] = {
    {"RTX 3060", 12288},     {"RTX 3080", 10240},
    {"RTX 3090", 24576},     {"RTX 4060 Ti 16GB", 16380},
    {"RTX 4070", 12282},     {"RTX 4070 Ti SUPER", 16376},
    {"RTX 4080", 16376},     {"RTX 4090", 24564},
    {"RTX 5070 Ti", 16303},  {"RTX 5080", 16303},
    {"RTX 5090", 32607},     {"RTX A6000", 49140},
    {"RTX 6000 Ada", 49140}, {"RTX PRO 6000", 97887},
    {"A10", 23028},          {"A40", 46068},
    {"A100-40GB", 40960},    {"A100-80GB", 81920},
    {"L4", 23034},           {"L40", 46068},
    {"L40S", 46068},         {"H100", 81559},
    {"H200", 143771},        {"B200", 183359},
};

/// Letters and digits, without what vendors put before and between: "rtx4090", "a10080gb".
std::string key_of(std::string_view name) {
  std::string key;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* const word : {"nvidia", "geforce", "sxm4", "sxm5", "pcie", "hbm3"})
    if (const std::size_t at = key.find(word); at != std::string::npos)
      key.erase(at, std::string_view(word).size());
  return key;
}

std::string known_names() {
  std::string names;
  for (const KnownGpu& gpu : kGpus) names += (names.empty() ? "" : ", ") + std::string(gpu.name);
  return names;
}

}  // namespace

std::int64_t gpu_memory_bytes(std::string_view name) {
  const std::string key = key_of(name);
  for (const KnownGpu& gpu : kGpus)
    if (const std::string known = key_of(gpu.name); key == known || "rtx" + key == known)
      return gpu.mebibytes << 20;
  fail(ErrorCode::kInvalidArgument, "`gpu` {}: expected its memory, such as 24GB, or one of {}", name,
       known_names());
}

}  // namespace wan
