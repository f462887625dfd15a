#pragma once
// NCCL, by which GPUs of several processes exchange. It is loaded, not linked, and typed here: a program without it runs, and its headers
// are not needed to build. The functions and their types are those of 2.14, which later versions keep; where the headers are there,
// they are held against them.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace wan::cuda {

inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclInProgress = 7;
inline constexpr int kNcclBytes = 1;  // ncclUint8
/// The first version with communicators whose calls do not wait.
inline constexpr int kNcclOldest = 21400;

struct NcclId {
  char bytes[128];
};

struct NcclConfig {
  std::size_t size = sizeof(NcclConfig);
  unsigned int magic = 0xcafebeef;
  unsigned int version = kNcclOldest;
  int blocking = 0;
};

struct Nccl {
  Nccl();

  int (*get_version)(int* version) = nullptr;
  int (*get_unique_id)(NcclId* id) = nullptr;
  int (*init_rank)(void** comm, int size, NcclId id, int rank, NcclConfig* config) = nullptr;
  int (*finalize)(void* comm) = nullptr;
  int (*destroy)(void* comm) = nullptr;
  int (*abort)(void* comm) = nullptr;
  int (*async_error)(void* comm, int* result) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  int (*send)(const void* data, std::size_t count, int type, int peer, void* comm,
              cudaStream_t stream) = nullptr;
  int (*receive)(void* data, std::size_t count, int type, int peer, void* comm,
                 cudaStream_t stream) = nullptr;
  const char* (*error_text)(int result) = nullptr;

  int version = 0;     // as the library counts: 22809 is 2.28.9; 0: there is none
  std::string reason;  // why it cannot be used; empty: it can
};

/// Once a process. NVLink multicast stays off in it.
const Nccl& nccl();
/// "2.28.9"
std::string nccl_version_text(int version);

}  // namespace wan::cuda
