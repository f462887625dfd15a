#pragma once
// Dividing an index range over OpenMP threads.

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace wan {

/// Elements for which waking a thread (a few microseconds) is worth its while.
constexpr std::int64_t kElementsPerThread = 1 << 14;

/// Threads to use for `elements` element-wise operations.
inline int useful_threads(int threads, std::int64_t elements) {
  return static_cast<int>(std::clamp<std::int64_t>(elements / kElementsPerThread, 1, threads));
}

/// f(begin, end) for consecutive parts of [0, count), one a thread, their borders multiples of `multiple`. f
/// must not throw.
template <typename F>
void parallel_for(int threads, std::int64_t count, std::int64_t multiple, F&& f) {
  if (count <= 0) return;
  const std::int64_t units = (count + multiple - 1) / multiple;
  const int used = static_cast<int>(std::min<std::int64_t>(threads, units));
  if (used <= 1) {
    f(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(used)
  {
    const std::int64_t team = omp_get_num_threads();
    const std::int64_t part = omp_get_thread_num();
    const std::int64_t begin = units * part / team * multiple;
    const std::int64_t end = std::min(units * (part + 1) / team * multiple, count);
    if (begin < end) f(begin, end);
  }
}

/// f(row) for every row of `width` elements, on as many threads as that much work deserves.
template <typename F>
void for_each_row(int threads, std::int64_t rows, std::int64_t width, F&& f) {
  parallel_for(useful_threads(threads, rows * width), rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row);
  });
}

}  // namespace wan
