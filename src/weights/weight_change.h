#pragma once
// WeightChange: what is done to a weight's values on their way from the file into memory: LoRAs that are merged.

#include <cstdint>
#include <span>

namespace wan {

/// Thread-safe; the values that it gives do not depend on the pieces that are asked for.
class WeightChange {
 public:
  virtual ~WeightChange() = default;
  /// `values` are those of the weight from its row-major element `first` on, in f32; changes them in place. They are rounded once, after this.
  virtual void apply(std::int64_t first, std::span<float> values) const = 0;
};

}  // namespace wan
