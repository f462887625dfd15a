#include "backends/cpu/kernels/parts.h"

namespace wan::WAN_ISA_NAMESPACE {

namespace {

template <typename Format>
void unpack(const std::uint8_t* blocks, float* out, std::int64_t count) {
  formats::unpack_blocks<Format>(blocks, out, count);
}

template <typename... Formats>
void add_formats(CpuKernels& table, formats::FormatList<Formats...>) {
  int i = 0;
  ((table.unpack[i++] = unpack<Formats>), ...);
}

}  // namespace

void add_unpack(CpuKernels& table) {
  add_formats(table, formats::All());
}

}  // namespace wan::WAN_ISA_NAMESPACE
