#include "pipeline/decode.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "media/frames.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

/// Frames [first, first + n) of `total` into `carried`, as far as they are among its last ones.
void carry(std::span<const float> pixels, std::int64_t first, std::int64_t total, const TensorView& carried) {
  if (!carried) return;
  const std::int64_t size = carried.shape().elements() / carried.dim(0);
  const std::int64_t begin = total - carried.dim(0);
  const auto count = static_cast<std::int64_t>(pixels.size()) / size;
  for (std::int64_t i = std::max<std::int64_t>(0, begin - first); i < count; ++i)
    std::transform(pixels.data() + i * size, pixels.data() + (i + 1) * size,
                   carried.as<float>() + (first + i - begin) * size,
                   [](float value) { return std::clamp(value, -1.0f, 1.0f); });
}

/// Takes decoded groups of frames and hands them on from a thread of its own, one group behind: bytes are made of one while the ranks
/// compute the next.
class Delivery {
 public:
  Delivery(const RunContext& run, const FramesTo& to, std::int64_t total, FrameSink& output)
      : run_(run), to_(to), total_(total), output_(output) {}

  /// frames [T, H, W, 3] f32 on the device. Throws what came of the group before.
  void take(const TensorView& frames) {
    next_.resize(static_cast<std::size_t>(frames.elements()));
    run_.exec.backend.download(frames, TensorView(next_.data(), DType::kF32, frames.shape()));
    run_.exec.communicator.check();  // or they are of what another rank did not send
    wait();
    std::swap(pixels_, next_);
    pending_ = std::async(std::launch::async, [this, count = frames.dim(0)] { deliver(count); });
    if (run_.dump != nullptr) wait();  // taps of the next group write to it too
  }

  /// Until everything that was taken is delivered. Throws what came of it.
  void wait() {
    const RankRest rest(run_.exec.communicator);  // the encoder and its disk take what they take
    if (pending_.valid()) pending_.get();
  }

 private:
  void deliver(std::int64_t frames) {
    levels_.resize(pixels_.size());
    const std::int64_t broken = quantize_levels(pixels_, levels_);
    WAN_CHECK(broken == 0, kInternal, "the VAE gave {} values that are not finite in frames {} to {}", broken,
              done_ + 1, done_ + frames);
    carry(pixels_, done_, total_, to_.carried);
    const std::size_t frame_size = levels_.size() / static_cast<std::size_t>(frames);
    const std::int64_t dropped = std::clamp<std::int64_t>(to_.skip - done_, 0, frames);
    const std::size_t begin = static_cast<std::size_t>(dropped) * frame_size;
    if (run_.dump != nullptr && dropped < frames)
      run_.dump->frames(to_.written + done_ + dropped - to_.skip, std::span(pixels_).subspan(begin),
                        std::span(levels_).subspan(begin));
    for (std::int64_t i = dropped; i < frames; ++i)
      output_.write(levels_.data() + static_cast<std::size_t>(i) * frame_size);
    done_ += frames;
  }

  const RunContext& run_;
  FramesTo to_;
  std::int64_t total_;
  FrameSink& output_;
  std::int64_t done_ = 0;
  std::vector<float> pixels_;  // of the group that is being delivered
  std::vector<float> next_;
  std::vector<std::uint8_t> levels_;
  std::future<void> pending_;  // last: it is waited for before the others go
};

}  // namespace

std::int64_t decode_into(const RunContext& run, const VideoVae& vae, const VaePlan& plan,
                         const TensorView& latents, const FramesTo& to, FrameSink* output) {
  const std::int64_t total = vae.geometry().frames(latents.dim(1));
  WAN_CHECK(to.skip < total && (!to.carried || to.carried.dim(0) <= total), kInternal,
            "[decode] {} frames, {} to skip", total, to.skip);
  PhaseReporter phase(run.on_event, Phase::kDecode, total);
  std::int64_t decoded = 0;
  std::optional<Delivery> delivery;
  if (output != nullptr) delivery.emplace(run, to, total, *output);
  vae.decode(run.exec, latents, plan, [&](const TensorView& frames) {
    delivery->take(frames);
    decoded += frames.dim(0);
    phase.progress(decoded);
  });
  if (delivery) delivery->wait();
  phase.finish();
  return total - to.skip;
}

}  // namespace wan
