#pragma once
// WeightChange: what is done to a weight's values on their way from the file into memory: LoRAs that are merged.

#include <cstddef>
#include <cstdint>
#include <span>

namespace wan {

struct WeightFactors;

/// Thread-safe; the values that it gives do not depend on the pieces that are asked for.
class WeightChange {
 public:
  virtual ~WeightChange() = default;
  /// `values` are those of the weight from its row-major element `first` on, in f32; changes them in place. They are rounded once, after this.
  virtual void apply(std::int64_t first, std::span<float> values) const = 0;
  /// The same as two narrow matrices, for a weight that stays packed; nullptr where it is no product of two.
  virtual const WeightFactors* factors() const { return nullptr; }
  /// Bytes of the host's memory that apply() takes at most for `count` values, on each thread.
  virtual std::size_t scratch_bytes([[maybe_unused]] std::int64_t count) const { return 0; }
  /// To be called once a weight has been loaded: throws BadFile where a file that the change reads was cut short meanwhile, and takes its pages
  /// out of this process's memory.
  virtual void done_reading() const {}
};

}  // namespace wan
