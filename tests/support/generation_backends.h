#pragma once
// The backends that whole generations are tested on, chosen by the file that the executable is linked with.

#include <memory>
#include <string_view>
#include <vector>

#include "ops/backend.h"

namespace wan::test {

/// Names; the last one's memory is a device's. Without a GPU: the CPU, and its kernels on memory that only the backend can touch.
std::vector<const char*> generation_backends();
std::unique_ptr<Backend> make_generation_backend(std::string_view name);

inline std::unique_ptr<Backend> make_device_backend() {
  return make_generation_backend(generation_backends().back());
}

}  // namespace wan::test
