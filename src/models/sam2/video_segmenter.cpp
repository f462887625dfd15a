#include "models/sam2/video_segmenter.h"

#include <algorithm>
#include <array>
#include <functional>
#include <future>
#include <map>
#include <utility>

#include "media/resample.h"
#include "models/sam2/image_encoder.h"
#include "models/sam2/mask_decoder.h"
#include "models/sam2/masks.h"
#include "models/sam2/memory.h"
#include "models/sam2/sums.h"
#include "ops/backend.h"

namespace wan::sam2 {

/// A frame as the image encoder takes it, on the host.
struct Picture {
  int width, height;  // of the video
  Tensor pixels;      // [size, size, 3]
};

namespace {

Picture make_picture(const Image& frame, std::int64_t size) {
  const Image square = resize_bicubic(frame, static_cast<int>(size), static_cast<int>(size));
  Picture made{frame.width, frame.height, Tensor(DType::kF32, {size, size, 3})};
  normalize_picture(square.rgb, {made.pixels.as<float>(), square.rgb.size()});
  return made;
}

void check_keys(std::int64_t frames, std::span<const KeyFrame> keys) {
  WAN_CHECK(
      frames >= 1 && !keys.empty() && keys.front().frame == 0 && keys.back().frame < frames &&
          std::ranges::is_sorted(keys, std::ranges::less_equal(), &KeyFrame::frame),
      kInvalidArgument,
      "a mask through a video needs key frames in order, the first of which is its first frame; got {} of "
      "{} frames",
      keys.size(), frames);
  for (const KeyFrame& key : keys)
    WAN_CHECK(!key.points.empty(), kInvalidArgument,
              "a mask needs at least one point on a key frame, frame {} has none", key.frame);
}

/// The order in which frames are read: key frames, then the others.
std::vector<std::int64_t> reading_order(std::int64_t frames, std::span<const KeyFrame> keys) {
  std::vector<std::int64_t> order;
  for (const KeyFrame& key : keys) order.push_back(key.frame);
  auto next_key = keys.begin();
  for (std::int64_t frame = 0; frame < frames; ++frame)
    if (next_key != keys.end() && next_key->frame == frame)
      ++next_key;
    else
      order.push_back(frame);
  return order;
}

/// `width` and `height` are the video's, `size` the encoder's.
std::vector<Place> places_of(const KeyFrame& key, int width, int height, std::int64_t size) {
  const auto pixels = static_cast<float>(size);
  std::vector<Place> places;
  for (const Point& point : key.points) {
    const float x = point.x / static_cast<float>(width) * pixels + 0.5f;
    const float y = point.y / static_cast<float>(height) * pixels + 0.5f;
    places.push_back({x / pixels, y / pixels});
  }
  return places;
}

}  // namespace

/// Reads frames in their order, and makes the next one's picture while this one's is used.
class PictureSource {
 public:
  PictureSource(std::vector<std::int64_t> order, const FrameReader& read, std::int64_t size)
      : order_(std::move(order)), read_(read), size_(size) {
    begin();
  }

  Picture next() {
    Picture made = coming_.get();
    if (at_ == 1) {
      width_ = made.width;
      height_ = made.height;
    }
    WAN_CHECK(made.width == width_ && made.height == height_, kInvalidArgument,
              "frame {} of the video has {}x{} pixels, frame {} has {}x{}; all need one size",
              order_[at_ - 1], made.width, made.height, order_[0], width_, height_);
    begin();
    return made;
  }
  bool has_next() const { return coming_.valid(); }
  /// Of the video, once a picture was taken.
  int width() const { return width_; }
  int height() const { return height_; }

 private:
  void begin() {
    if (at_ == order_.size()) return;
    coming_ = std::async(std::launch::async,
                         [frame = read_(order_[at_]), size = size_] { return make_picture(frame, size); });
    ++at_;
  }

  std::vector<std::int64_t> order_;
  const FrameReader& read_;
  std::int64_t size_;
  std::size_t at_ = 0;
  int width_ = 0, height_ = 0;
  std::future<Picture> coming_;
};

std::vector<std::int64_t> key_frames_of(std::int64_t frames) {
  constexpr std::int64_t kWanted = 4;
  std::vector<std::int64_t> keys;
  const std::int64_t step = frames > kWanted ? frames / kWanted : std::max<std::int64_t>(frames, 1);
  for (std::int64_t frame = 0; frame < frames; frame += step) keys.push_back(frame);
  return keys;
}

class VideoSegmenter::Impl {
 public:
  Impl(const WeightScope& top, const Config& config)
      : config_(config),
        other_(top, config),
        images_(config, top),
        decoder_(config, top, *other_),
        memory_encoder_(config, top),
        memory_attention_(config, top) {
    skip_unneeded(top);
  }

  const Config& config() const { return config_; }

  void segment_chunk(ExecContext& ctx, std::int64_t frames, std::span<const KeyFrame> keys,
                     const FrameReader& read, const MaskSink& write) const {
    check_keys(frames, keys);
    const Workspace::Scope scope(ctx.workspace);
    PictureSource source(reading_order(frames, keys), read, config_.settings.image_size);
    Chunk chunk{frames, MemoryBank(config_), {take_features(ctx), take_features(ctx)}};
    encode_image(ctx, source.next(), chunk.features());
    // The next frame's picture is encoded on the device while the host is at this one's mask.
    const auto begin_next = [&] {
      if (source.has_next()) encode_image(ctx, source.next(), chunk.next_features());
    };
    std::map<std::int64_t, std::vector<float>> key_logits;
    for (const KeyFrame& key : keys) {
      const std::vector<Place> places =
          places_of(key, source.width(), source.height(), config_.settings.image_size);
      key_logits.emplace(key.frame, run_key(ctx, key.frame, places, chunk, begin_next));
    }
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(source.width()) *
                                   static_cast<std::size_t>(source.height()));
    for (std::int64_t frame = 0; frame < frames; ++frame) {
      const auto key = key_logits.find(frame);
      const std::vector<float> logits =
          key != key_logits.end() ? std::move(key->second) : run_frame(ctx, frame, chunk, begin_next);
      threshold(logits, config_.mask_size(), source.width(), source.height(), mask);
      write(frame, mask);
    }
  }

 private:
  /// What a chunk has between its frames. Pictures' features alternate.
  struct Chunk {
    std::int64_t frames;
    MemoryBank bank;
    std::array<ImageFeatures, 2> both;
    std::size_t current = 0;

    const ImageFeatures& features() const { return both[current]; }
    const ImageFeatures& next_features() const { return both[1 - current]; }
  };
  using Begin = std::function<void()>;

  void encode_image(ExecContext& ctx, const Picture& picture, const ImageFeatures& features) const {
    const Workspace::Scope scope(ctx.workspace);
    const TensorView pixels = ctx.workspace.take(DType::kF32, picture.pixels.shape());
    ctx.backend.upload(picture.pixels, pixels);
    images_.encode(ctx, pixels, features);
  }

  ImageFeatures take_features(ExecContext& ctx) const {
    const std::int64_t tokens = config_.grid() * config_.grid();
    return {.coarse = ctx.workspace.take(DType::kF32, {tokens, config_.dim}),
            .half = ctx.workspace.take(DType::kF32, {4 * tokens, config_.dim / 4}),
            .fine = ctx.workspace.take(DType::kF32, {16 * tokens, config_.dim / 8})};
  }

  FrameMemory make_memory(ExecContext& ctx) const {
    const std::int64_t tokens = config_.grid() * config_.grid();
    return {.features = Tensor(ctx.backend.allocator(), DType::kBF16, {tokens, config_.memory_dim}),
            .pointer = Tensor(ctx.backend.allocator(), DType::kF32, {1, config_.dim})};
  }

  void remember(ExecContext& ctx, const TensorView& picture, std::span<const float> logits, bool binary,
                const TensorView& out) const {
    const Workspace::Scope scope(ctx.workspace);
    const std::int64_t side = config_.settings.image_size;
    const Tensor host(DType::kF32, {side, side});
    to_remember(logits, config_.mask_size(), side, binary,
                {host.as<float>(), static_cast<std::size_t>(host.elements())});
    const TensorView mask = ctx.workspace.take(DType::kF32, host.shape());
    ctx.backend.upload(host, mask);
    memory_encoder_.encode(ctx, picture, mask, out);
  }

  /// What the frame's mask is, its holes filled. A key frame is seen without memories; what is remembered of it is what is seen. `begin_next` is
  /// called once the device has nothing left to do.
  std::vector<float> run_key(ExecContext& ctx, std::int64_t frame, std::span<const Place> places,
                             Chunk& chunk, const Begin& begin_next) const {
    const Workspace::Scope scope(ctx.workspace);
    const TensorView& picture = chunk.features().coarse;
    const TensorView seen = ctx.workspace.take(DType::kF32, picture.shape());
    add_to_rows(ctx, other_->no_memory, picture, seen);
    FrameMemory memory = make_memory(ctx);
    std::vector<float> logits = decoder_.decode(ctx, seen, chunk.features(), places, memory.pointer).logits;
    begin_next();
    fill_holes(logits, config_.mask_size(), config_.settings.hole_area);
    remember(ctx, picture, logits, /*binary=*/true, memory.features);
    chunk.bank.add_key(frame, std::move(memory));
    chunk.current = 1 - chunk.current;
    return logits;
  }

  /// Likewise of another frame; what is remembered has its holes still.
  std::vector<float> run_frame(ExecContext& ctx, std::int64_t frame, Chunk& chunk,
                               const Begin& begin_next) const {
    const Workspace::Scope scope(ctx.workspace);
    const TensorView& picture = chunk.features().coarse;
    const TensorView seen = ctx.workspace.take(DType::kF32, picture.shape());
    memory_attention_.attend(ctx, picture, chunk.bank.memories_for(frame),
                             chunk.bank.pointers_for(frame, chunk.frames), seen);
    FrameMemory memory = make_memory(ctx);
    std::vector<float> logits = decoder_.decode(ctx, seen, chunk.features(), {}, memory.pointer).logits;
    begin_next();
    remember(ctx, picture, logits, /*binary=*/false, memory.features);
    chunk.bank.add(frame, std::move(memory));
    chunk.current = 1 - chunk.current;
    fill_holes(logits, config_.mask_size(), config_.settings.hole_area);
    return logits;
  }

  Config config_;
  LoadedWeights<OtherWeights> other_;
  ImageEncoder images_;
  MaskDecoder decoder_;
  MemoryEncoder memory_encoder_;
  MemoryAttention memory_attention_;
};

VideoSegmenter::VideoSegmenter(const WeightScope& top, const Config& config)
    : impl_(std::make_unique<Impl>(top, config)) {}
VideoSegmenter::~VideoSegmenter() = default;
VideoSegmenter::VideoSegmenter(VideoSegmenter&&) noexcept = default;

const Config& VideoSegmenter::config() const {
  return impl_->config();
}

void VideoSegmenter::segment_chunk(ExecContext& ctx, std::int64_t frames, std::span<const KeyFrame> keys,
                                   const FrameReader& read, const MaskSink& write) const {
  impl_->segment_chunk(ctx, frames, keys, read, write);
}

void VideoSegmenter::segment(ExecContext& ctx, std::int64_t frames, const PointsOfFrame& points_of,
                             const FrameReader& read, const MaskSink& write) const {
  const std::int64_t chunk = config().settings.chunk_frames;
  for (std::int64_t first = 0; first < frames; first += chunk) {
    const std::int64_t count = std::min(chunk, frames - first);
    std::vector<KeyFrame> keys;
    for (const std::int64_t key : key_frames_of(count)) keys.push_back({key, points_of(first + key)});
    segment_chunk(
        ctx, count, keys, [&](std::int64_t frame) { return read(first + frame); },
        [&](std::int64_t frame, std::span<const std::uint8_t> mask) { write(first + frame, mask); });
  }
}

}  // namespace wan::sam2
