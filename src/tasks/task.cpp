#include "tasks/task.h"

namespace wan {

VideoSize Task::size_from_image(const Image&, const VideoSize&, const VaeGeometry&, const PatchSize&) const {
  fail(ErrorCode::kInternal, "[{}] takes no image", facts_.name);
}

Shape Task::condition_shape(const VaeGeometry&, const Shape&) const {
  fail(ErrorCode::kInternal, "[{}] takes no image", facts_.name);
}

}  // namespace wan
