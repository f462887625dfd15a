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

  /// Once everything is delivered; [height, width, 3] of a frame.
  void dump_all(std::int64_t height, std::int64_t width) {
    if (run_.dump == nullptr || !to_.dumps_all) return;
    run_.dump->planes("decoded", {all_.data(), DType::kF32, {total_, height, width, 3}});
  }

 private:
  void deliver(std::int64_t frames) {
    levels_.resize(pixels_.size());
    const std::int64_t broken = quantize_levels(pixels_, levels_);
    WAN_CHECK(broken == 0, kInternal, "the VAE gave {} values that are not finite in frames {} to {}", broken,
              done_ + 1, done_ + frames);
    carry(pixels_, done_, total_, to_.carried);
    if (run_.dump != nullptr && to_.dumps_all)
      for (const float value : pixels_) all_.push_back(std::clamp(value, -1.0f, 1.0f));
    const auto frame_size = static_cast<std::int64_t>(levels_.size()) / frames;
    const std::int64_t dropped = std::clamp<std::int64_t>(to_.skip - done_, 0, frames);
    if (dropped < frames && done_ + dropped == to_.skip)
      for (std::int64_t shown = 1; shown < to_.first_shown; ++shown)
        hand_on(dropped, dropped + 1, frame_size);
    hand_on(dropped, frames, frame_size);
    done_ += frames;
  }

  /// Frames [first, end) of the group, to the output and the dump.
  void hand_on(std::int64_t first, std::int64_t end, std::int64_t frame_size) {
    if (to_.most) end = std::min(end, first + *to_.most - handed_on_);
    if (end <= first) return;
    const auto begin = static_cast<std::size_t>(first * frame_size);
    const auto size = static_cast<std::size_t>((end - first) * frame_size);
    if (run_.dump != nullptr)
      run_.dump->frames(to_.written + handed_on_, std::span(pixels_).subspan(begin, size),
                        std::span(levels_).subspan(begin, size));
    for (std::int64_t i = first; i < end; ++i) output_.write(levels_.data() + i * frame_size);
    handed_on_ += end - first;
  }

  const RunContext& run_;
  FramesTo to_;
  std::int64_t total_;
  FrameSink& output_;
  std::int64_t done_ = 0;
  std::int64_t handed_on_ = 0;
  std::vector<float> all_;     // that were decoded, for the dump
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
  if (delivery) {
    delivery->wait();
    delivery->dump_all(run.settings.size.height, run.settings.size.width);
  }
  phase.finish();
  const std::int64_t shown = total - to.skip + to.first_shown - 1;
  return std::min(shown, to.most.value_or(shown));
}

}  // namespace wan
