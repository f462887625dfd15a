#include "weights/weight_loader.h"

#include <utility>

#include "weights/convert.h"

namespace wan {

WeightLoader::WeightLoader(WeightTarget target) : target_(std::move(target)) {
  WAN_CHECK(target_.allocator->device().kind == DeviceKind::kCpu || target_.upload != nullptr, kInternal,
            "[weights] a target on {} needs an upload function", to_string(target_.allocator->device()));
}

void WeightLoader::load(const TensorEntry& entry, const WeightSpec& spec, const TensorView& destination) {
  const TensorView source = spec.partition.slice(entry.view());
  if (target_.fill) {
    target_.fill(source, destination);
    return;
  }
  const ConvertOptions options{.threads = target_.threads};
  if (destination.device().kind == DeviceKind::kCpu) {
    convert(source, destination, options);
    return;
  }
  if (staging_.size() < destination.bytes()) staging_ = Buffer(cpu_allocator(), destination.bytes());
  const TensorView host(staging_.data(), destination.dtype(), destination.shape());
  convert(source, host, options);
  target_.upload(host, destination);
}

}  // namespace wan
