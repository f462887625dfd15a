#pragma once
// The formats of packed weights: the one table of them. A new one is a file of this folder, a row here and a DType of its place.
//
// A format has kName, kValues and kBytes of a block (the values follow one another in a row), and
//   run<Bits>(block, first)(i)   the value first + i, for a `first` that is a multiple of 8 and i < 8, or of kRunValues and i < kRunValues;
//                                Bits: how the bytes are taken, InMemory or InRegisters (format_math.h)
//   kApart                       how far apart values lie that come out of the same bytes; 0: there are none
// or, where values depend on all of a block,
//   unpack(block, out)           all of them

#include "tensor/formats/codes.h"
#include "tensor/formats/iq4.h"
#include "tensor/formats/k_quants.h"
#include "tensor/formats/legacy_quants.h"
#include "tensor/formats/rotated.h"

namespace wan::formats {

template <typename... Formats>
struct FormatList {
  static constexpr int kCount = sizeof...(Formats);
};

/// In the order of their DTypes.
using All = FormatList<F8E4M3, F8E5M2, F8E4M3Scaled128, F8E4M3Scaled64, F8E5M2Scaled128, F8E5M2Scaled64,
                       I8Scaled128, I8Scaled64, I8Rotated256, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K,
                       Q5_K, Q6_K, IQ4_NL, IQ4_XS>;

/// Whether its values come by runs.
template <typename Format>
inline constexpr bool kHasRuns = requires(const std::uint8_t* block) {
  Format::run(block, 0)(0);
};

/// All values of `count` blocks; of a format with blocks of one value, `count` is a multiple of kRunValues.
template <typename Format>
WAN_FORMAT void unpack_blocks(const std::uint8_t* blocks, float* out, std::int64_t count) {
  if constexpr (!kHasRuns<Format>) {
    for (std::int64_t block = 0; block < count; ++block)
      Format::unpack(blocks + block * Format::kBytes, out + block * Format::kValues);
  } else {
    constexpr int kAtOnce = Format::kValues == 1 ? kRunValues : 1;  // blocks
    constexpr int kValues = kAtOnce * Format::kValues;
    for (std::int64_t block = 0; block < count; block += kAtOnce) {
      for (int first = 0; first < kValues; first += kRunValues) {
        const auto run = Format::run(blocks + block * Format::kBytes, first);
        float* const to = out + block * Format::kValues + first;
        for (int i = 0; i < kRunValues; ++i) to[i] = run(i);
      }
    }
  }
}

}  // namespace wan::formats
