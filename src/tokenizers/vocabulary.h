#pragma once
// Vocabulary: the pieces of text that a tokenizer's model has ids for, as added tokens ask for them.

#include <cstdint>
#include <optional>
#include <string_view>

namespace wan {

class Vocabulary {
 public:
  virtual ~Vocabulary() = default;
  virtual std::optional<std::int64_t> find(std::u32string_view piece) const = 0;
  /// One more than the largest id.
  virtual std::int64_t size() const = 0;
};

}  // namespace wan
