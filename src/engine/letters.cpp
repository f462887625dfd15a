#include "engine/letters.h"

namespace wan {

namespace {

constexpr const char* kSender = "the first process's settings";

void put_settings(LetterWriter& letter, const GenerationSettings& settings) {
  GenerationSettings shared = settings;
  shared.encoding = {};  // whether there is such an encoder is asked where the video is written
  const Metadata metadata = to_metadata(shared);
  letter.put(metadata.size());
  for (const auto& [key, value] : metadata) {
    letter.put(key);
    letter.put(value);
  }
}

GenerationSettings get_settings(LetterReader& letter) {
  Metadata metadata;
  const auto count = letter.get<std::size_t>();
  for (std::size_t i = 0; i < count; ++i) {
    std::string key = letter.text();
    metadata.emplace_back(std::move(key), letter.text());
  }
  return settings_from_metadata(metadata, kSender);
}

void put_image(LetterWriter& letter, const std::optional<Image>& image) {
  letter.put(image.has_value());
  if (!image) return;
  letter.put(image->width);
  letter.put(image->height);
  letter.put(std::string_view(reinterpret_cast<const char*>(image->rgb.data()), image->rgb.size()));
}

std::optional<Image> get_image(LetterReader& letter) {
  if (!letter.get<bool>()) return std::nullopt;
  Image image;
  image.width = letter.get<int>();
  image.height = letter.get<int>();
  const std::string rgb = letter.text();
  image.rgb.assign(rgb.begin(), rgb.end());
  return image;
}

void put_tensors(LetterWriter& letter, const std::vector<Tensor>& tensors) {
  letter.put(tensors.size());
  for (const Tensor& tensor : tensors) letter.put(tensor);
}

std::vector<Tensor> get_tensors(LetterReader& letter) {
  std::vector<Tensor> tensors(letter.get<std::size_t>());
  for (Tensor& tensor : tensors) tensor = letter.tensor();
  return tensors;
}

void put_latents(LetterWriter& letter, const std::optional<SavedLatents>& latents) {
  letter.put(latents.has_value());
  if (!latents) return;
  put_tensors(letter, latents->slots);
  letter.put(latents->segment);
  letter.put(latents->segments);
  letter.put(latents->done.size());  // the first process alone has what they are
  letter.put(latents->condition);
  letter.put(latents->next_step);
  letter.put(latents->automatic);
  letter.put(latents->file.string());
  letter.put(latents->settings.has_value());
  if (latents->settings) put_settings(letter, *latents->settings);
}

std::optional<SavedLatents> get_latents(LetterReader& letter) {
  if (!letter.get<bool>()) return std::nullopt;
  SavedLatents latents;
  latents.slots = get_tensors(letter);
  latents.segment = letter.get<int>();
  latents.segments = letter.get<int>();
  for (auto count = letter.get<std::size_t>(); count > 0; --count) latents.done.add_elsewhere();
  latents.condition = letter.tensor();
  latents.next_step = letter.get<int>();
  latents.automatic = letter.get<bool>();
  latents.file = letter.text();
  if (letter.get<bool>()) latents.settings = get_settings(letter);
  return latents;
}

}  // namespace

void LetterWriter::put_bytes(const void* data, std::size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(data);
  letter_.insert(letter_.end(), begin, begin + bytes);
}

void LetterWriter::put(const Shape& shape) {
  put(shape.rank());
  for (const std::int64_t extent : shape.extents()) put(extent);
}

void LetterWriter::put(const Tensor& tensor) {
  put(!tensor.empty());
  if (tensor.empty()) return;
  put(static_cast<int>(tensor.dtype()));
  put(tensor.shape());
  put_bytes(tensor.view().data(), tensor.bytes());
}

void LetterWriter::put(const Error& error) {
  put(static_cast<int>(error.code()));
  put(std::string_view(error.what()));
  put(error.field());
}

void LetterReader::get_bytes(void* into, std::size_t bytes) {
  WAN_CHECK(bytes <= letter_.size() - read_, kInternal, "[letter] {} bytes of {} expected, {} are left",
            bytes, letter_.size(), letter_.size() - read_);
  if (bytes > 0) std::memcpy(into, letter_.data() + read_, bytes);
  read_ += bytes;
}

std::string LetterReader::text() {
  const auto size = get<std::size_t>();
  WAN_CHECK(size <= letter_.size() - read_, kInternal, "[letter] a text of {} bytes, {} are left", size,
            letter_.size() - read_);
  std::string text(size, '\0');
  get_bytes(text.data(), size);
  return text;
}

Shape LetterReader::shape() {
  std::vector<std::int64_t> extents(static_cast<std::size_t>(get<int>()));
  for (std::int64_t& extent : extents) extent = get<std::int64_t>();
  return Shape(extents);
}

Tensor LetterReader::tensor() {
  if (!get<bool>()) return {};
  const auto dtype = static_cast<DType>(get<int>());
  Tensor tensor(dtype, shape());
  get_bytes(tensor.view().data(), tensor.bytes());
  return tensor;
}

Error LetterReader::error() {
  const auto code = static_cast<ErrorCode>(get<int>());
  const std::string message = text();
  return {code, message, text()};
}

// Names every member, so that one that is added goes along or does not compile.
void put_options(LetterWriter& letter, const EngineOptions& options) {
  const auto& [ckpt_dir, parts, lora, lora_allow_unmatched, device, gpus, ulysses_size, guidance_parallel,
               p2p, rank_timeout, dit_fsdp, t5_fsdp, precision, vae_precision, residency, offload_model,
               t5_cpu, use_relighting_lora, keep_models, memory_limit, threads] = options;
  // The name of a downloaded model stays a name, and so does every path where the working folder is not known.
  const auto put_path = [&](const std::filesystem::path& path) {
    std::error_code unknown;
    const std::filesystem::path absolute = std::filesystem::absolute(path, unknown);
    letter.put((unknown || !std::filesystem::exists(path, unknown) ? path : absolute).string());
  };
  const auto& [high_noise, low_noise, transformer, text_encoder, vae, tokenizer] = parts;
  for (const auto* path : {&ckpt_dir, &high_noise, &low_noise, &transformer, &text_encoder, &vae, &tokenizer})
    put_path(*path);
  letter.put(lora.size());
  for (const LoraFile& each : lora) {
    put_path(each.file);
    letter.put(each.strength);
    letter.put(each.expert);
  }
  letter.put(lora_allow_unmatched);
  letter.put(device);
  letter.put(gpus.size());
  for (const int gpu : gpus) letter.put(gpu);
  letter.put(ulysses_size);
  letter.put(guidance_parallel);
  letter.put(p2p);
  letter.put(rank_timeout.count());
  letter.put(dit_fsdp);
  letter.put(t5_fsdp);
  letter.put(precision);
  letter.put(vae_precision);
  letter.put(residency);
  letter.put(offload_model);
  letter.put(t5_cpu);
  letter.put(use_relighting_lora);
  letter.put(keep_models);
  letter.put(memory_limit);
  letter.put(threads);
}

EngineOptions get_options(LetterReader& letter) {
  EngineOptions options;
  CheckpointParts& parts = options.parts;
  for (auto* path : {&options.ckpt_dir, &parts.high_noise, &parts.low_noise, &parts.transformer,
                     &parts.text_encoder, &parts.vae, &parts.tokenizer})
    *path = letter.text();
  options.lora.resize(letter.get<std::size_t>());
  for (LoraFile& each : options.lora) {
    each.file = letter.text();
    each.strength = letter.get<double>();
    each.expert = letter.text();
  }
  options.lora_allow_unmatched = letter.get<bool>();
  options.device = letter.text();
  options.gpus.resize(letter.get<std::size_t>());
  for (int& gpu : options.gpus) gpu = letter.get<int>();
  options.ulysses_size = letter.get<int>();
  options.guidance_parallel = letter.text();
  options.p2p = letter.text();
  options.rank_timeout = std::chrono::duration<double>(letter.get<double>());
  options.dit_fsdp = letter.get<bool>();
  options.t5_fsdp = letter.get<bool>();
  options.precision = letter.text();
  options.vae_precision = letter.text();
  options.residency = letter.text();
  options.offload_model = letter.get<bool>();
  options.t5_cpu = letter.get<bool>();
  options.use_relighting_lora = letter.get<bool>();
  options.keep_models = letter.get<bool>();
  options.memory_limit = letter.get<std::int64_t>();
  options.threads = letter.get<int>();
  return options;
}

void put_request(LetterWriter& letter, const GenerationSettings& settings, const Shape& latent,
                 const RankLayout& layout, const InputImages& images,
                 const std::optional<SavedLatents>& resumed, bool check) {
  put_settings(letter, settings);
  letter.put(latent);
  letter.put(layout.sequence);
  letter.put(layout.groups);
  letter.put(layout.machines);
  put_image(letter, images.first);
  put_image(letter, images.last);
  put_latents(letter, resumed);
  letter.put(check);
}

void put_group_support(LetterWriter& letter, const DeviceGroupSupport& support) {
  letter.put(support.library);
  letter.put(support.reason);
  letter.put(support.device);
}

DeviceGroupSupport get_group_support(LetterReader& letter) {
  DeviceGroupSupport support;
  support.library = letter.text();
  support.reason = letter.text();
  support.device = letter.text();
  return support;
}

void put_vae_plan(LetterWriter& letter, const VaePlan& plan) {
  const auto& [frame_by_frame, compact_history, tile_height, tile_width, overlap_height, overlap_width,
               bytes] = plan;
  letter.put(frame_by_frame);
  letter.put(compact_history);
  letter.put(tile_height);
  letter.put(tile_width);
  letter.put(overlap_height);
  letter.put(overlap_width);
  letter.put(bytes);
}

VaePlan get_vae_plan(LetterReader& letter) {
  VaePlan plan;
  plan.frame_by_frame = letter.get<bool>();
  plan.compact_history = letter.get<bool>();
  plan.tile_height = letter.get<std::int64_t>();
  plan.tile_width = letter.get<std::int64_t>();
  plan.overlap_height = letter.get<std::int64_t>();
  plan.overlap_width = letter.get<std::int64_t>();
  plan.bytes = letter.get<std::size_t>();
  return plan;
}

SharedRequest get_request(LetterReader& letter) {
  SharedRequest request;
  request.settings = get_settings(letter);
  request.latent = letter.shape();
  request.layout.sequence = letter.get<int>();
  request.layout.groups = letter.get<int>();
  request.layout.machines = letter.get<int>();
  request.images.first = get_image(letter);
  request.images.last = get_image(letter);
  request.resumed = get_latents(letter);
  request.check = letter.get<bool>();
  return request;
}

}  // namespace wan
