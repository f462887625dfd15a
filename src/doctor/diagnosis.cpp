#include "doctor/diagnosis.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace wan {

namespace {

// Below these something is usually wrong; the usual rates are in published/time_estimate.cpp.
constexpr double kSlowNvlink = 20e9;
constexpr double kSlowPcie = 5e9;
constexpr double kSlowUpload = 4e9;
constexpr std::int64_t kLittleMemory =
    4'000'000'000;  // streaming takes 1.5 GB of the host's, a video's encoder and files the rest

using Problems = std::vector<DoctorProblem>;

struct Driver {
  int cuda;
  const char* least;
};
// docs/cuda.md
constexpr Driver kDrivers[] = {{13000, "580"}, {12080, "570"}};

/// "580" for a build with CUDA 13.0.
std::string least_driver(int runtime) {
  for (const Driver& driver : kDrivers)
    if (runtime >= driver.cuda) return driver.least;
  return "that CUDA's";
}

std::string variable(const DoctorHost& host, const char* name) {
  for (const auto& [set, value] : host.environment)
    if (set == name) return value;
  return {};
}

bool is_set(const DoctorHost& host, const char* name) {
  return std::any_of(host.environment.begin(), host.environment.end(),
                     [&](const auto& entry) { return entry.first == name; });
}

void add(Problems& problems, ErrorCode code, std::string what, std::string remedy) {
  problems.push_back({.code = code, .what = std::move(what), .remedy = std::move(remedy)});
}

void advise(Problems& problems, std::string what, std::string remedy) {
  problems.push_back({.what = std::move(what), .remedy = std::move(remedy), .advice = true});
}

/// What makes a driver that is there show nothing.
std::string remedy_of_no_device(const DoctorReport& report) {
  const DoctorCuda& cuda = report.cuda;
  if (cuda.driver_cuda == 0)
    return format_message(
        "install NVIDIA's driver {} or newer and restart; in a container, start it with the GPUs "
        "(nvidia-container-toolkit)",
        least_driver(cuda.runtime));
  if (cuda.driver_cuda / 1000 < cuda.runtime / 1000)
    return format_message("update the driver to {} or newer, or build with CUDA {}",
                          least_driver(cuda.runtime), cuda_version_text(cuda.driver_cuda));
  if (cuda.reason.find("SystemNotReady") != std::string::npos)
    return "start NVIDIA's fabric manager, of the driver's own version: systemctl start nvidia-fabricmanager";
  if (is_set(report.host, "CUDA_VISIBLE_DEVICES"))
    return format_message("CUDA_VISIBLE_DEVICES is '{}': unset it, or name GPUs that there are",
                          variable(report.host, "CUDA_VISIBLE_DEVICES"));
  return "look at the kernel's messages (dmesg) for NVRM, and restart the machine";
}

void look_at_cuda(const DoctorReport& report, Problems& problems) {
  const DoctorCuda& cuda = report.cuda;
  if (!cuda.built) {
    if (cuda.cards > 0)
      advise(problems,
             format_message("this build has no CUDA, and the machine has {} NVIDIA card{}", cuda.cards,
                            cuda.cards == 1 ? "" : "s"),
             "build with make CUDA=1");
    return;
  }
  if (!cuda.reason.empty()) {
    if (cuda.cards > 0 || cuda.driver_cuda > 0)
      add(problems, ErrorCode::kDevice, cuda.reason, remedy_of_no_device(report));
    return;
  }
  if (cuda.cudnn / 10000 != cuda.cudnn_built / 10000 || cuda.cudnn < cuda.cudnn_built)
    add(problems, ErrorCode::kDevice,
        format_message("cuDNN {} is loaded, and this build was made with {}", cudnn_version_text(cuda.cudnn),
                       cudnn_version_text(cuda.cudnn_built)),
        "put the folder of that cuDNN, or of a newer one of its major version, first in LD_LIBRARY_PATH");
}

void look_at_device(const DoctorGpu& gpu, Problems& problems) {
  const double gigabyte = 1e-9;
  if (!gpu.unusable.empty()) {
    add(problems, ErrorCode::kUnsupported, gpu.unusable, "or leave this GPU out with `gpus`");
    return;
  }
  if (gpu.free < gpu.memory / 10 * 9)
    advise(problems,
           format_message("{:.1f} of the {:.1f} GB of cuda:{} are taken by other programs",
                          static_cast<double>(gpu.memory - gpu.free) * gigabyte,
                          static_cast<double>(gpu.memory) * gigabyte, gpu.index),
           "end them (nvidia-smi names them), or leave this GPU out with `gpus`");
  if (gpu.pcie_width > 0 && gpu.pcie_width < gpu.pcie_most)
    advise(problems,
           format_message("cuda:{} uses {} of its {} PCIe lanes", gpu.index, gpu.pcie_width, gpu.pcie_most),
           "put it into a slot with all lanes, and look at risers and the firmware's settings for lanes");
  if (gpu.upload_bytes_per_second > 0 && gpu.upload_bytes_per_second < kSlowUpload)
    advise(
        problems,
        format_message("cuda:{} takes {:.1f} GB/s from the host", gpu.index,
                       gpu.upload_bytes_per_second * gigabyte),
        "keep all weights in GPUs (`residency` resident), or free the processors and memory that others use");
}

void look_at_pair(const DoctorPair& pair, Problems& problems) {
  if (!pair.failure.empty()) {
    add(problems, ErrorCode::kDevice,
        format_message("nothing can be copied from cuda:{} to cuda:{}: {}", pair.from, pair.to,
                       MessagePart{pair.failure}),
        "restart the machine; if it stays, leave one of the two out with `gpus`");
    return;
  }
  if (!pair.equal) {
    add(problems, ErrorCode::kDevice,
        format_message("what cuda:{} sends to cuda:{} does not arrive as it was sent", pair.from, pair.to),
        "turn off ACS in the firmware and the IOMMU (intel_iommu=off or amd_iommu=off for the kernel), which "
        "break peer access over "
        "PCIe; until then `p2p` off goes by way of the host");
    return;
  }
  if (!pair.peer_access) {
    advise(
        problems,
        format_message(
            "cuda:{} cannot reach the memory of cuda:{} ({}): copies go by way of the host, at {:.1f} GB/s",
            pair.to, pair.from, MessagePart{pair.link}, pair.bytes_per_second * 1e-9),
        "GeForce cards have no peer access since the RTX 40; for others turn off the IOMMU and ACS, and put "
        "both cards below one processor; guidance in parallel exchanges least");
    return;
  }
  const bool nvlink = pair.link == "NVLink";
  if (pair.bytes_per_second < (nvlink ? kSlowNvlink : kSlowPcie))
    advise(problems,
           format_message("{} from cuda:{} to cuda:{} gives {:.1f} GB/s", MessagePart{pair.link}, pair.from,
                          pair.to, pair.bytes_per_second * 1e-9),
           nvlink ? "look at its links: nvidia-smi nvlink -s"
                  : "put both cards into slots with 16 lanes below one processor");
}

void look_at_host(const DoctorReport& report, Problems& problems) {
  const DoctorHost& host = report.host;
  if (host.available < kLittleMemory)
    advise(problems,
           format_message("{:.1f} GB of memory are free for this process",
                          static_cast<double>(host.available) * 1e-9),
           "end other programs, or raise the limit of the container or control group");
  if (host.codecs.empty())
    advise(problems, "this build writes no .mp4, and single frames alone",
           "build with FFmpeg's libraries, which make installs");
  if (host.instruction_set == "baseline")
    advise(problems, "the vector kernels run without AVX2", "take a processor that has it, or a GPU");
  if (variable(host, "CUDA_LAUNCH_BLOCKING") == "1")
    advise(problems, "CUDA_LAUNCH_BLOCKING is 1: the GPU waits after every kernel", "unset it");
  if (variable(host, "NVIDIA_TF32_OVERRIDE") == "0")
    advise(problems, "NVIDIA_TF32_OVERRIDE is 0: frames are decoded at a fraction of the speed", "unset it");
  if (variable(host, "OMP_NUM_THREADS") == "1" && host.processors > 1)
    advise(problems, format_message("OMP_NUM_THREADS is 1 on {} processors", host.processors), "unset it");
  if (std::atoi(variable(host, "WORLD_SIZE").c_str()) > 1)
    advise(problems, "WORLD_SIZE is set, as torchrun does, and a video is made by one process",
           "start the program without torchrun: `gpus` says how many GPUs it uses");
}

void look_at_exchange(const std::optional<DoctorExchange>& tried, Problems& problems) {
  if (!tried) return;
  const DoctorExchange& exchange = *tried;
  if (!exchange.failure.empty())
    add(problems, ErrorCode::kDevice,
        format_message("ranks on {} cannot exchange: {}", exchange.devices, MessagePart{exchange.failure}),
        "use one GPU, or others with `gpus`; `p2p` off goes by way of the host");
  else if (!exchange.equal)
    add(problems, ErrorCode::kDevice,
        format_message("what ranks on {} exchange does not arrive as it was sent", exchange.devices),
        "see the pairs; if each of them is right, look for faulty memory (nvidia-smi -q -d ECC)");
}

}  // namespace

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string cudnn_version_text(int version) {
  constexpr int kSinceNine = 90000;  // 9.1.0 is 90100, 8.9.7 is 8907
  if (version >= kSinceNine)
    return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  return fmt::format("{}.{}.{}", version / 1000, version / 100 % 10, version % 100);
}

std::vector<DoctorProblem> diagnose(const DoctorReport& report) {
  Problems problems;
  look_at_cuda(report, problems);
  for (const DoctorGpu& gpu : report.devices) look_at_device(gpu, problems);
  for (const DoctorPair& pair : report.pairs) look_at_pair(pair, problems);
  look_at_exchange(report.exchange, problems);
  look_at_exchange(report.exchange_by_host, problems);
  look_at_host(report, problems);
  return problems;
}

}  // namespace wan
