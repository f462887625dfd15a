#include <dlfcn.h>

#include "base/error.h"
#include "parallel/mpi/message_library.h"

namespace wan {

MessageLibrary& load_message_library() {
  // Found by the run path of the program or library that this is a part of. Its symbols are global: MPI's own plugins use them.
  void* const module = ::dlopen("libwan_mpi.so", RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr) {
    const char* const reason = ::dlerror();
    fail(ErrorCode::kUnsupported,
         "this build has no MPI, or the machine has none to run it with: install Open MPI (libopenmpi-dev, "
         "openmpi-bin) on each "
         "machine and build anew; or start one process ({})",
         std::string(reason == nullptr ? "libwan_mpi.so does not load" : reason));
  }
  using Library = MessageLibrary*();
  auto* const library = reinterpret_cast<Library*>(::dlsym(module, "wan_mpi_library"));
  WAN_CHECK(library != nullptr, kUnsupported,
            "libwan_mpi.so is of another version than the program; install both anew");
  return *library();
}

}  // namespace wan
