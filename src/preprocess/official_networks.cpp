#include "preprocess/official_networks.h"

#include <fmt/ranges.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "engine/backend_factory.h"
#include "engine/on_device.h"
#include "models/sam2/video_segmenter.h"
#include "onnx/session.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDetectorSide = 640;
constexpr std::int64_t kPoseWidth = 192, kPoseHeight = 256;

/// A network of one picture: [1, 3, height, width] to its first output.
class PictureNetwork {
 public:
  PictureNetwork(const fs::path& file, Backend& backend, std::int64_t width, std::int64_t height,
                 const char* kind)
      : model_(onnx::Model::open(file)),
        input_(shape_of(model_, width, height, kind)),
        session_(model_, backend, std::span(&input_, 1)) {
    WAN_CHECK(!session_.outputs().empty() && session_.outputs()[0].dtype == DType::kF32, kBadFile,
              "[{}] {} has no output of floats", kind, model_.name());
  }

  int width() const { return static_cast<int>(input_[3]); }
  int height() const { return static_cast<int>(input_[2]); }
  const std::string& name() const { return model_.name(); }
  /// Extents of the first output.
  const std::vector<std::int64_t>& answer() const { return session_.outputs()[0].dims; }

  Tensor run(ExecContext& ctx, std::span<const float> values) {
    const Tensor input(DType::kF32, input_);
    std::ranges::copy(values, input.as<float>());
    const TensorView view = input;
    std::vector<Tensor> outputs = session_.run(ctx, std::span(&view, 1));
    model_.check_read();
    return std::move(outputs[0]);
  }

 private:
  /// The sizes that the file states, or the published ones where it leaves them free.
  static Shape shape_of(const onnx::Model& model, std::int64_t width, std::int64_t height, const char* kind) {
    const std::vector<onnx::ValueInfo>& inputs = model.inputs();
    const bool picture = inputs.size() == 1 && inputs[0].dtype == DType::kF32 && inputs[0].dims.size() == 4 &&
                         (inputs[0].dims[0] == 1 || inputs[0].dims[0] == -1) &&
                         (inputs[0].dims[1] == 3 || inputs[0].dims[1] == -1);
    WAN_CHECK(picture, kBadFile, "[{}] {}: expected one input of floats, [1, 3, height, width]", kind,
              model.name());
    const auto or_published = [](std::int64_t stated, std::int64_t published) {
      return stated > 0 ? stated : published;
    };
    return {1, 3, or_published(inputs[0].dims[2], height), or_published(inputs[0].dims[3], width)};
  }

  onnx::Model model_;
  Shape input_;
  onnx::Session session_;
};

/// Of a file, or of a folder's files.
std::int64_t bytes_of(const fs::path& path) {
  std::int64_t bytes = 0;
  std::error_code ignored;
  if (!is_folder(path)) return static_cast<std::int64_t>(fs::file_size(path, ignored));
  for (const fs::path& file : list_folder(path))
    if (file_kind(file) == FileKind::kRegular)
      bytes += static_cast<std::int64_t>(fs::file_size(file, ignored));
  return bytes;
}

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.as<float>(), tensor.as<float>() + tensor.elements()};
}

class OnnxDetector final : public PersonDetector {
 public:
  OnnxDetector(const fs::path& file, ExecContext& ctx)
      : ctx_(ctx), network_(file, ctx.backend, kDetectorSide, kDetectorSide, "detector") {
    const auto& dims = network_.answer();
    WAN_CHECK(dims.size() == 3 && dims[0] == 1, kBadFile,
              "[detector] {}: its output is [{}], expected [1, rows, columns]", network_.name(),
              fmt::join(dims, ", "));
  }

  int width() const override { return network_.width(); }
  int height() const override { return network_.height(); }
  Detections detect(std::span<const float> input) override {
    const Tensor output = network_.run(ctx_, input);
    const Shape& shape = output.shape();
    return {.rows = shape[1], .columns = shape[2], .values = values_of(output)};
  }

 private:
  ExecContext& ctx_;
  PictureNetwork network_;
};

class OnnxEstimator final : public KeypointEstimator {
 public:
  OnnxEstimator(const fs::path& file, ExecContext& ctx)
      : ctx_(ctx), network_(file, ctx.backend, kPoseWidth, kPoseHeight, "pose network") {
    const auto& dims = network_.answer();
    WAN_CHECK(
        dims.size() == 4 && dims[0] == 1 && dims[1] == kBodyPoints, kBadFile,
        "[pose network] {}: its output is [{}], expected [1, {}, height, width], a heatmap for each point of "
        "COCO-WholeBody's",
        network_.name(), fmt::join(dims, ", "), kBodyPoints);
  }

  int width() const override { return network_.width(); }
  int height() const override { return network_.height(); }
  Heatmaps estimate(std::span<const float> input) override {
    const Tensor output = network_.run(ctx_, input);
    const Shape& shape = output.shape();
    return {.points = static_cast<int>(shape[1]),
            .width = static_cast<int>(shape[3]),
            .height = static_cast<int>(shape[2]),
            .values = values_of(output)};
  }

 private:
  ExecContext& ctx_;
  PictureNetwork network_;
};

class Sam2Segmenter final : public PersonSegmenter {
 public:
  Sam2Segmenter(const fs::path& file, ExecContext& ctx)
      : ctx_(ctx),
        report_(Checkpoint::open(file), "video segmenter"),
        scope_(report_, target_of(ctx.backend, DType::kF32)),
        model_(scope_, sam2::read_config(scope_)) {
    report_.check();
  }

  std::int64_t chunk_frames() const override { return model_.config().settings.chunk_frames; }
  void segment(std::int64_t frames, const PointsOfFrame& points_of, const FrameReader& read,
               const MaskSink& write) override {
    std::vector<sam2::KeyFrame> keys;
    for (const std::int64_t frame : sam2::key_frames_of(frames)) {
      sam2::KeyFrame& key = keys.emplace_back(sam2::KeyFrame{.frame = frame, .points = {}});
      for (const MaskPoint& point : points_of(frame))
        key.points.push_back({static_cast<float>(point.x), static_cast<float>(point.y)});
    }
    model_.segment_chunk(ctx_, frames, keys, read, write);
  }

 private:
  ExecContext& ctx_;
  WeightReport report_;
  WeightScope scope_;
  sam2::VideoSegmenter model_;
};

}  // namespace

NetworkFiles::NetworkFiles(const fs::path& folder)
    : detector(folder / "det" / "yolov10m.onnx"),
      estimator(folder / "pose2d" / "vitpose_h_wholebody.onnx"),
      segmenter(folder / "sam2" / "sam2_hiera_large.pt") {}

std::vector<fs::path> NetworkFiles::needed(const PreprocessOptions& options) const {
  std::vector<fs::path> files = {detector, estimator};
  if (options.replace_flag) files.push_back(segmenter);
  return files;
}

void check_network_files(const PreprocessOptions& options) {
  WAN_CHECK_FIELD(is_folder(options.ckpt_path), kBadFile, "ckpt_path",
                  "`ckpt_path` {}: it is no folder; name process_checkpoint of the checkpoint "
                  "Wan2.2-Animate-14B, which wan "
                  "download animate-14B brings",
                  options.ckpt_path.string());
  std::vector<std::string> missing;
  for (const fs::path& file : NetworkFiles(options.ckpt_path).needed(options))
    if (!file_exists(file)) missing.push_back(file.lexically_relative(options.ckpt_path).string());
  WAN_CHECK_FIELD(missing.empty(), kBadFile, "ckpt_path",
                  "`ckpt_path` {}: it lacks {}; wan download animate-14B brings what is missing",
                  options.ckpt_path.string(), fmt::join(missing, ", "));
}

struct OfficialNetworks::Impl {
  static EngineOptions engine_options(const PreprocessOptions& options) {
    EngineOptions own;
    own.device = options.device;
    own.threads = options.threads;
    return own;
  }

  Impl(const PreprocessOptions& options, const std::atomic<bool>* cancelled)
      : backend(make_backend(engine_options(options), BackendUse::kCoordinates).backend),
        workspace(backend->allocator()),
        ctx{.backend = *backend, .workspace = workspace, .communicator = alone, .cancelled = cancelled} {}

  std::unique_ptr<Backend> backend;
  Workspace workspace;
  SelfCommunicator alone;
  ExecContext ctx;
  std::unique_ptr<PersonDetector> detector;
  std::unique_ptr<KeypointEstimator> estimator;
  std::unique_ptr<PersonSegmenter> segmenter;
};

OfficialNetworks::OfficialNetworks(const PreprocessOptions& options, const EventHandler& on_event,
                                   const std::atomic<bool>* cancelled) {
  check_network_files(options);
  impl_ = std::make_unique<Impl>(options, cancelled);
  const NetworkFiles files(options.ckpt_path);
  std::int64_t total = 0, loaded = 0;
  for (const fs::path& file : files.needed(options)) total += bytes_of(file);
  PhaseReporter phase(on_event, Phase::kLoad, total);
  const auto load = [&]<typename Network>(auto& network, std::in_place_type_t<Network>,
                                          const fs::path& file) {
    WAN_CHECK(cancelled == nullptr || !*cancelled, kCancelled, "stopped while networks were loaded");
    with_field("ckpt_path", [&] { network = std::make_unique<Network>(file, impl_->ctx); });
    loaded += bytes_of(file);
    phase.progress(loaded);
  };
  load(impl_->detector, std::in_place_type<OnnxDetector>, files.detector);
  load(impl_->estimator, std::in_place_type<OnnxEstimator>, files.estimator);
  if (options.replace_flag) load(impl_->segmenter, std::in_place_type<Sam2Segmenter>, files.segmenter);
  phase.finish();
}

OfficialNetworks::~OfficialNetworks() = default;

Networks OfficialNetworks::networks() const {
  return {*impl_->detector, *impl_->estimator, impl_->segmenter.get()};
}

Backend::MemoryUse OfficialNetworks::memory_use() const {
  return impl_->backend->memory_use();
}

}  // namespace wan
