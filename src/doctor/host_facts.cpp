#include "doctor/host_facts.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>

#include "backends/cpu/cpu_backend.h"
#include "base/error.h"
#include "base/files.h"
#include "base/memory_info.h"
#include "media/mp4_writer.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// What changes how programs run on GPUs or many processors: of CUDA, its libraries and the loader, of NCCL, OpenMP and launchers.
constexpr const char* kVariables[] = {
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_MPS_PIPE_DIRECTORY",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NCCL_P2P_DISABLE",
    "NCCL_P2P_LEVEL",
    "NCCL_SHM_DISABLE",
    "NCCL_IB_DISABLE",
    "NCCL_SOCKET_IFNAME",
    "NCCL_NVLS_ENABLE",
    "NCCL_DEBUG",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "ONEDNN_MAX_CPU_ISA",
    "WAN_CPU_ISA",
    "WORLD_SIZE",
    "LOCAL_RANK",
};

std::optional<std::int64_t> lock_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

/// Bytes that could be locked, the half and the half again of what cannot.
std::int64_t try_to_lock(std::size_t most) {
  void* const memory = ::mmap(nullptr, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  constexpr std::size_t kLeast = 4096;
  std::size_t bytes = most;
  while (bytes >= kLeast && ::mlock(memory, bytes) != 0) bytes /= 2;
  ::munmap(memory, most);  // unlocks
  return bytes >= kLeast ? static_cast<std::int64_t>(bytes) : 0;
}

std::vector<std::string> written_codecs() {
  std::vector<std::string> codecs;
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kH265, VideoCodec::kAv1}) {
    try {
      check_mp4_supported({.codec = codec, .crf = {}});
      codecs.emplace_back(video_codec_name(codec));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
    }
  }
  return codecs;
}

std::string first_word(const fs::path& file) {
  std::ifstream stream(file);
  std::string word;
  stream >> word;
  return word;
}

}  // namespace

DoctorHost host_facts() {
  DoctorHost host{.processors = available_cpus(),
                  .instruction_set = cpu_instruction_set(),
                  .memory = machine_memory_bytes(),
                  .available = available_memory_bytes(),
                  .memory_lock_limit = lock_limit(),
                  .lockable = try_to_lock(std::size_t{64} << 20),
                  .codecs = written_codecs()};
  for (const char* const name : kVariables)
    if (const char* const value = std::getenv(name)) host.environment.emplace_back(name, value);
  return host;
}

int count_nvidia_cards(const fs::path& root) {
  const fs::path devices = root / "sys/bus/pci/devices";
  if (!file_exists(devices)) return 0;
  int cards = 0;
  for (const fs::path& device : list_folder(devices))
    // Class 03: display controllers, of which compute cards without an outlet are one kind.
    cards +=
        first_word(device / "vendor") == "0x10de" && first_word(device / "class").starts_with("0x03") ? 1 : 0;
  return cards;
}

}  // namespace wan
