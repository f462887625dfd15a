#include "tensor/unpack.h"

#include <algorithm>

namespace wan {

void unpack_values(DType dtype, const std::byte* blocks, std::int64_t values, float* out) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(blocks);
  with_format(dtype, [&](auto format) {
    using Format = decltype(format);
    if constexpr (Format::kValues == 1) {  // any number of them
      const auto run = Format::run(bytes, 0);
      for (std::int64_t i = 0; i < values; ++i) out[i] = run(static_cast<int>(i));
    } else {
      WAN_CHECK(values % Format::kValues == 0, kInternal, "[unpack] {} values of {} are no whole blocks",
                values, dtype_name(dtype));
      formats::unpack_blocks<Format>(bytes, out, values / Format::kValues);
    }
  });
}

bool fits_rows(DType packed, std::int64_t columns) {
  const auto step =
      std::max<std::int64_t>(static_cast<std::int64_t>(values_per_block(packed)), formats::kRunValues);
  return columns > 0 && columns % step == 0;
}

}  // namespace wan
