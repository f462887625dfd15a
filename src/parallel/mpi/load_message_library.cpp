#include <dlfcn.h>

#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "parallel/mpi/message_library.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kModule = "libwan_mpi.so";

/// Where the program lies, and the library that this is a part of where it is another one. A name without a path would be looked for in
/// folders that others may write to.
std::vector<fs::path> folders() {
  std::vector<fs::path> places{real_path("/proc/self/exe").parent_path()};
  Dl_info self{};
  if (::dladdr(reinterpret_cast<const void*>(&load_message_library), &self) != 0 && self.dli_fname[0] == '/')
    places.push_back(fs::path(self.dli_fname).parent_path());
  std::vector<fs::path> all;
  for (const fs::path& place : places)
    for (const char* const folder : {WAN_MODULE_FOLDERS}) all.push_back(place / folder);
  return all;
}

}  // namespace

MessageLibrary& load_message_library() {
  std::string reason = "there is no libwan_mpi.so beside the program";
  for (const fs::path& folder : folders()) {
    const fs::path file = folder / kModule;
    if (!file_exists(file)) continue;
    // Its symbols are global: MPI's own plugins use them.
    void* const module = ::dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (module == nullptr) {
      reason = ::dlerror();
      continue;
    }
    using Library = MessageLibrary*();
    auto* const library = reinterpret_cast<Library*>(::dlsym(module, "wan_mpi_library"));
    WAN_CHECK(library != nullptr, kUnsupported,
              "{} is of another version than the program; install both anew", file.string());
    return *library();
  }
  fail(ErrorCode::kUnsupported,
       "this build has no MPI, which processes of mpirun and srun need ({}): install Open MPI "
       "(libopenmpi-dev, openmpi-bin) on "
       "each machine and build anew, or start one process",
       reason);
}

}  // namespace wan
