#pragma once
// What is published of GPUs, by their names: memory, ceilings, links.

#include <cstdint>
#include <string_view>

namespace wan {

/// That a plan or a report is made for.
constexpr int kMostGpus = 64;

/// GPUs whose kernels reach about the same part of a ceiling: those for computing centres by their generation, cards for
/// workstations, and GeForce, whose tensor units run at half their rate and wait less for memory.
enum class GpuClass { kAmpereCentre, kHopperCentre, kBlackwellCentre, kWorkstation, kGeForce };

/// How two GPUs of one machine reach each other's memory.
enum class GpuLink {
  kNvlink,  // NVLink, through switches or a bridge
  kPcie,    // peer access over PCIe
  kHost,    // no peer access: by way of the host's memory
};

struct KnownGpu {
  std::string_view name;
  std::int64_t mebibytes;   // as nvidia-smi shows them
  double tensor_teraflops;  // bf16 products without sparsity, sums in f32
  double memory_gigabytes;  // a second, read and written together
  GpuClass kind;
  double nvlink_gigabytes;  // a second in each direction, of all its links; 0: it has none
  GpuLink usual_link;       // where nothing is said: NVLink where machines come with it

  std::int64_t bytes() const { return mebibytes << 20; }
};

/// "RTX 4090", "rtx4090", "NVIDIA A100-SXM4-80GB" or "A100-80GB": all that the driver shows. nullptr for any other.
const KnownGpu* find_known_gpu(std::string_view name);

/// The same; throws InvalidArgument, with the names that are known, for any other. `member` is whose value it is, as "`gpu`", and
/// `expected` what else it could be, "its memory, such as 24GB, or ".
const KnownGpu& known_gpu(const char* member, std::string_view name, const char* expected = "");

}  // namespace wan
