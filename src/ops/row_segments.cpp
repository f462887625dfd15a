#include "ops/row_segments.h"

#include "base/error.h"

namespace wan {

void check_segments(const char* op, const RowSegments& segments, std::int64_t rows) {
  std::int64_t previous = 0;
  for (const std::int64_t end : segments.ends) {
    WAN_CHECK(end >= previous, kInternal, "[{}] segment ends must ascend, got {} after {}", op, end,
              previous);
    previous = end;
  }
  WAN_CHECK(previous == rows, kInternal, "[{}] segments cover {} rows of {}", op, previous, rows);
}

}  // namespace wan
