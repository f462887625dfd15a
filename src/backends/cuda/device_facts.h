#pragma once
// What the driver and CUDA's libraries say of themselves, of the GPUs and of their links. In a build without CUDA there is nothing, and a
// reason. No function throws: what cannot be asked is left empty.

#include <cstdint>
#include <string>
#include <vector>

namespace wan {

/// As the libraries count them: CUDA 13000 is 13.0, cuDNN 91900 is 9.19.0, NCCL 22707 is 2.27.7. 0: not found.
struct CudaVersions {
  bool built = false;
  std::string driver;   // "580.65.06"
  int driver_cuda = 0;  // the newest CUDA that the driver runs
  int runtime = 0;
  int cudnn = 0;
  int cudnn_built = 0;      // of the headers that this build was made with
  int nccl = 0;             // by which GPUs of several processes exchange
  std::string nccl_reason;  // why it cannot be used; empty: it can
};
CudaVersions cuda_versions();

/// How a GPU sits in its machine. 0: unknown, or none.
struct CudaBusFacts {
  std::string address;      // "0000:17:00.0"
  int pcie_generation = 0;  // that card and slot can do
  int pcie_width = 0;       // lanes in use
  int pcie_most = 0;        // lanes that the card has
  int nvlinks = 0;          // that are up
};
CudaBusFacts cuda_bus_facts(int device);

/// The way between two GPUs: "NVLink", "PCIe, one switch", "PCIe, between processors"; empty: unknown.
std::string cuda_link(int from, int to);
/// Whether the driver lets one GPU reach the other's memory.
bool cuda_peer_access(int from, int to);

}  // namespace wan
