#pragma once
// FrameSource: the frames that preprocessing looks at, in order.

#include <cstdint>

#include "media/image.h"

namespace wan {

class FrameSource {
 public:
  virtual ~FrameSource() = default;

  virtual std::int64_t count() const = 0;
  /// The next one, all of one size; valid until the next call. No more than count().
  virtual const Image& next() = 0;
};

}  // namespace wan
