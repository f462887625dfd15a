#include "extension/local_model.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/backend_factory.h"
#include "engine/load_options.h"
#include "engine/on_device.h"
#include "extension/model_files.h"
#include "media/load_image.h"
#include "media/resample.h"
#include "models/qwen/generate_text.h"
#include "models/qwen/vision_tower.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

constexpr std::int64_t kLongestQuestion =
    8192;  // tokens that memory is planned for: ten times an instruction and a prompt
constexpr std::int64_t kSpareBytes = std::int64_t{512} << 20;  // for libraries and what no plan counts

/// As the official code resizes it: to whole tokens within wide bounds, then within those of its processor.
PicturePatches read_picture(const std::filesystem::path& path, const QwenVisionConfig& config) {
  constexpr std::int64_t kPixels = 28 * 28;
  Image image = with_field("image", [&] { return load_image(path); });
  for (const auto& [least, most] : {std::pair<std::int64_t, std::int64_t>{4, 16384}, {256, 1280}}) {
    const PictureSize size =
        fit_picture({image.width, image.height}, config.token_side(), least * kPixels, most * kPixels);
    image = resize_bicubic(image, static_cast<int>(size.width), static_cast<int>(size.height));
  }
  return cut_picture({.data = image.rgb.data(), .width = image.width, .height = image.height}, config);
}

/// What lies on a device beside the layers.
std::int64_t bytes_beside_layers(const QwenConfig& config, DType weights, DType compute) {
  const auto size_of = [](DType dtype) { return static_cast<std::int64_t>(dtype_size(dtype)); };
  const std::int64_t head = config.vocabulary * (config.dim * size_of(weights) + size_of(DType::kF32));
  const std::int64_t token = 2 * config.dim * size_of(DType::kF32) +
                             (config.dim + 2 * config.query_dim() + 2 * config.dim_ffn) * size_of(compute);
  return head + token * kLongestQuestion + key_value_bytes(config, kLongestQuestion, compute) + kSpareBytes;
}

}  // namespace

std::string chat_turns(const std::string& system, const std::string& prompt, const std::string& picture) {
  return "<|im_start|>system\n" + system + "<|im_end|>\n<|im_start|>user\n" + picture + prompt +
         "<|im_end|>\n<|im_start|>assistant\n";
}

/// In the order in which they are needed; what borrows stands behind what it borrows.
struct LocalQwen::Loaded {
  Loaded(const std::filesystem::path& path, const EngineOptions& options, const EventHandler& on_event,
         const std::atomic<bool>* cancelled)
      : files(open_language_model(path)),
        report(files.checkpoint, "language model"),
        weights(files.weights_dtype()) {
    check_tokens();
    check_weights();
    EngineOptions first = options;
    first.ulysses_size = 0;
    if (first.gpus.size() > 1) first.gpus.resize(1);
    backend = std::move(make_backend(first, BackendUse::kFewProducts).backend);
    choose_residency(options, on_event);
    load(on_event, cancelled);
  }

  void check_tokens() const {
    for (const char* token : {"<|im_start|>", "<|im_end|>"})
      WAN_CHECK(
          tokenizer.find(token), kUnsupported,
          "the tokenizer in {} has no token {}: its model has no turns as Qwen2.5 Instruct has; use that",
          files.path.string(), token);
    WAN_CHECK(tokenizer.vocabulary_size() <= config.vocabulary, kBadFile,
              "{}: the tokenizer knows {} tokens, the model {}; take all files of the folder from one place",
              files.path.string(), tokenizer.vocabulary_size(), config.vocabulary);
  }

  /// Packed matrices of the file are unpacked when they are loaded, or kept.
  BlockLayout layout(const WeightScope& scope, bool kept_packed) const {
    BlockLayout plain = qwen_block_layout(config);
    if (!kept_packed) return plain;
    return with_packed(std::move(plain), scope, static_cast<int>(config.num_layers));
  }

  BlockGroup group(const WeightScope& scope) const {
    return {scope, layout(scope, keeps_packed), static_cast<int>(config.num_layers)};
  }

  BlockGroup vision_group(const WeightScope& scope) const {
    return {scope, qwen_vision_block_layout(*config.vision), static_cast<int>(config.vision->num_layers)};
  }

  /// Everything that is missing, before a device is asked for anything.
  void check_weights() const {
    WeightReport findings(files.checkpoint, "language model");
    const WeightScope scope = WeightScope::describing(findings, weights);
    const auto blocks = make_residency({group(scope)}, {.kind = ResidencyKind::kStreamed});
    const QwenModel described(config, scope, *blocks, 0, DType::kF32);
    std::unique_ptr<BlockResidency> vision_blocks;
    std::optional<QwenVisionTower> described_tower;
    if (config.vision) {
      vision_blocks = make_residency({vision_group(scope)}, {.kind = ResidencyKind::kStreamed});
      described_tower.emplace(*config.vision, scope, *vision_blocks, 0, DType::kF32);
    }
    findings.check();
  }

  /// What one layer takes while it is loaded.
  std::int64_t layer_bytes(bool kept_packed) const {
    WeightReport unread(files.checkpoint, "language model");
    return static_cast<std::int64_t>(
        block_bytes(layout(WeightScope::describing(unread, weights), kept_packed), weights));
  }

  /// All layers unpacked where they fit, so that a word reads them and no more; otherwise as they are in the file, as many as fit.
  void choose_residency(const EngineOptions& options, const EventHandler& on_event) {
    const auto layers = config.num_layers;
    const std::int64_t unpacked = layer_bytes(false), packed = layer_bytes(true);
    const auto room_for_layers = [&] {
      std::int64_t free = backend->free_bytes() - backend->reserved_bytes();
      if (options.memory_limit > 0) free = std::min(free, options.memory_limit);
      const std::int64_t room = free - bytes_beside_layers(config, weights, compute_dtype(*backend, weights));
      keeps_packed = packed < unpacked && room / unpacked < layers;
      if (!keeps_packed) return room / unpacked;
      // The largest matrix is unpacked beside them.
      const auto scratch = config.dim * config.dim_ffn * static_cast<std::int64_t>(dtype_size(weights));
      return (room - scratch) / packed;
    };
    std::int64_t places = room_for_layers();
    if (places < 2 && backend->device().kind != DeviceKind::kCpu) {
      on_event(Notice{format_message("the GPU has no room for the language model, which runs on the CPU")});
      EngineOptions on_cpu = options;
      on_cpu.device = "cpu";
      on_cpu.gpus.clear();
      on_cpu.ulysses_size = 0;
      backend = std::move(make_backend(on_cpu).backend);
      places = room_for_layers();
    }
    if (places >= layers) return;
    residency_options = {.kind = ResidencyKind::kStreamed,
                         .keep = true,
                         .places = static_cast<int>(std::max<std::int64_t>(places, 2)),
                         .threads = 0};
    on_event(
        Notice{format_message("{} of the language model's {} layers have room at a time; the others are read "
                              "from the disk for each word",
                              residency_options.places, layers)});
  }

  void load(const EventHandler& on_event, const std::atomic<bool>* cancelled) {
    const WeightScope scope(report, target_of(*backend, weights));
    residency = make_residency({group(scope)}, on_device(residency_options, *backend));
    backend->synchronize();  // the blocks' memory is there, for uploads beside other work
    if (residency_options.kind == ResidencyKind::kResident) {
      const auto total = static_cast<std::int64_t>(residency->bytes());
      PhaseReporter phase(on_event, Phase::kLoad, total);
      residency->preload([&](std::size_t done, std::size_t) {
        WAN_CHECK(cancelled == nullptr || !cancelled->load(), kCancelled,
                  "stopped while the language model was loaded");
        phase.progress(static_cast<std::int64_t>(done));
      });
      phase.finish();
    }
    const DType compute = compute_dtype(*backend, weights);
    model = std::make_unique<QwenModel>(config, scope, *residency, 0, compute);
    if (config.vision) {
      vision_residency = make_residency({vision_group(scope)}, on_device(kEncoderPlaces, *backend));
      vision_residency->set_schedule({});  // the places take memory once there is a picture
      tower = std::make_unique<QwenVisionTower>(*config.vision, scope, *vision_residency, 0, compute);
    }
    report.check();
    workspace = std::make_unique<Workspace>(backend->allocator());
  }

  /// Turns without a picture, or with its tokens.
  TextBeginning begin(const LocalQuestion& question, ExecContext& ctx) const {
    if (question.image.empty())
      return begin_text(*model, tokenizer.encode(chat_turns(question.system, question.prompt)));
    constexpr const char* kPicture = "<|image_pad|>";
    const auto picture_id = tokenizer.find(kPicture);
    WAN_CHECK(picture_id, kBadFile, "the tokenizer has no token {}: it is not that of Qwen2.5-VL", kPicture);
    const PicturePatches picture = read_picture(question.image, *config.vision);
    const Tensor tokens(DType::kF32, {picture.rows * picture.columns, config.dim});
    tower->encode(ctx, picture, tokens);
    const std::string turns = chat_turns(question.system, question.prompt,
                                         std::string("<|vision_start|>") + kPicture + "<|vision_end|>");
    return begin_with_picture(*model, tokenizer.encode(turns), *picture_id, tokens, picture.rows,
                              picture.columns);
  }

  LanguageModelFiles files;
  const ByteLevelTokenizer& tokenizer = files.tokenizer;
  const QwenConfig& config = files.config;
  WeightReport report;
  DType weights;              // that layers are computed with
  bool keeps_packed = false;  // layers stay as small as their file, and are unpacked when they are used
  std::unique_ptr<Backend> backend;
  ResidencyOptions residency_options;
  std::unique_ptr<BlockResidency> residency;
  std::unique_ptr<QwenModel> model;
  std::unique_ptr<BlockResidency> vision_residency;  // of models that see
  std::unique_ptr<QwenVisionTower> tower;
  std::unique_ptr<Workspace> workspace;
};

LocalQwen::LocalQwen(const std::filesystem::path& folder, const EngineOptions& options,
                     const EventHandler& on_event, const std::atomic<bool>* cancelled)
    : loaded_(std::make_unique<Loaded>(folder, options, on_event, cancelled)) {}

LocalQwen::~LocalQwen() = default;

LocalAnswer LocalQwen::ask(const LocalQuestion& question, const std::function<void(std::int64_t)>& told,
                           const std::atomic<bool>* cancelled) {
  Loaded& loaded = *loaded_;
  SelfCommunicator alone;
  ExecContext ctx{.backend = *loaded.backend,
                  .workspace = *loaded.workspace,
                  .communicator = alone,
                  .cancelled = cancelled,
                  .unpacked = loaded.weights};
  check_sees(loaded.files.path, question.image);
  const TextBeginning beginning = loaded.begin(question, ctx);
  const GeneratedText text = generate_text(ctx, *loaded.model, beginning, loaded.files.sampling,
                                           question.seed, question.max_tokens, told);
  return {.text = loaded.files.tokenizer.decode(text.ids), .ended = text.ended, .ids = text.ids};
}

}  // namespace wan
