#include "backends/cuda/nccl_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>

#include "base/error.h"

#if __has_include(<nccl.h>)
#include <nccl.h>
#endif

namespace wan::cuda {

#ifdef NCCL_H_
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId) && sizeof(NcclConfig) <= sizeof(ncclConfig_t));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic) &&
              offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version) &&
              offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(kNcclSuccess == ncclSuccess && kNcclInProgress == ncclInProgress && kNcclBytes == ncclUint8);
static_assert(std::is_same_v<decltype(&ncclSend), ncclResult_t (*)(const void*, std::size_t, ncclDataType_t,
                                                                   int, ncclComm_t, cudaStream_t)>);
static_assert(std::is_same_v<decltype(&ncclCommInitRankConfig),
                             ncclResult_t (*)(ncclComm_t*, int, ncclUniqueId, int, ncclConfig_t*)>);
#endif

Nccl::Nccl() {
  // Before the library reads it: exchanges with NVLink multicast have hung on machines whose switches are not set up for it, and what
  // ranks send one another here is for one receiver.
  ::setenv("NCCL_NVLS_ENABLE", "0", 1);
  void* const library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    reason = "NCCL (libnccl.so.2) is not installed";
    return;
  }
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    return function != nullptr;
  };
  if (!find("ncclGetVersion", get_version) || get_version(&version) != kNcclSuccess) version = 0;
  const bool whole = find("ncclGetUniqueId", get_unique_id) && find("ncclCommInitRankConfig", init_rank) &&
                     find("ncclCommFinalize", finalize) && find("ncclCommDestroy", destroy) &&
                     find("ncclCommAbort", abort) && find("ncclCommGetAsyncError", async_error) &&
                     find("ncclGroupStart", group_start) && find("ncclGroupEnd", group_end) &&
                     find("ncclSend", send) && find("ncclRecv", receive) &&
                     find("ncclGetErrorString", error_text);
  if (!whole || version < kNcclOldest)
    reason = fmt::format("NCCL {} is older than {}, the first that can be used", nccl_version_text(version),
                         nccl_version_text(kNcclOldest));
}

const Nccl& nccl() {
  static const Nccl library;
  return library;
}

std::string nccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace wan::cuda
