#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/fnv_hash.h"
#include "base/mapped_file.h"
#include "base/temporary_file.h"
#include "base/untrusted_text.h"
#include "engine/fingerprint.h"
#include "engine/loaded_models.h"
#include "engine/model_file.h"
#include "engine/unfinished_model.h"
#include "json/json_text.h"
#include "json/strict_json.h"
#include "media/raw_file.h"
#include "wan/tools.h"
#include "wan/version.h"
#include "weights/convert.h"
#include "weights/quantize.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kScaleSuffix = "weight_scale";

bool is_gguf(MatrixFormat format) {
  return format == MatrixFormat::kQ8_0 || format == MatrixFormat::kQ4_0;
}

/// What a tensor of the source becomes.
struct Planned {
  const TensorEntry* source;
  DType dtype;        // of those that are not matrices of blocks
  bool is_matrix;     // in the conversion's format
  std::size_t index;  // in the file's tensors; its scales come next
};

bool is_block_matrix(const TensorEntry& entry, MatrixFormat format) {
  if (!entry.name.starts_with("blocks.") || !entry.name.ends_with(".weight") || entry.shape.rank() != 2)
    return false;
  return entry.shape[1] % static_cast<std::int64_t>(values_per_block(dtype_of(format))) == 0;
}

/// Of a file as it is now: a program that writes it changes that.
std::string state_of(const fs::path& file) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  const auto changed = fs::last_write_time(file, error).time_since_epoch().count();
  WAN_CHECK(!error, kBadFile, "cannot read {}: {}", file.string(), error.message());
  return fmt::format("{} bytes of {};", bytes, changed);
}

/// All else stays as it is, or as near as a file can hold it.
DType plain_dtype(const TensorEntry& entry) {
  if (entry.dtype == DType::kF64) return DType::kF32;
  return is_floating(entry.dtype) ? entry.dtype : DType::kBF16;
}

/// What tells LoRAs from one another.
struct MergedLoras {
  std::string stamp;   // what they hold, and their strengths
  std::string states;  // the files as they are now; a file's name may say whose it is

  explicit MergedLoras(std::span<const LoraFile> loras) {
    for (const LoraFile& lora : loras) {
      stamp += fmt::format(" with {:016x} ({})", fingerprint_of(Checkpoint::open(lora.file)),
                           format_lora({"", lora.strength, lora.expert}));
      states += lora.file.filename().string() + state_of(lora.file);
    }
  }
};

class ModelConversion {
 public:
  /// The LoRAs are merged in the source.
  ModelConversion(const Checkpoint& source, MatrixFormat format, std::string model, const MergedLoras& merged)
      : source_(source),
        format_(format),
        model_(std::move(model)),
        stamp_(fmt::format("{} of {:016x}{}", matrix_format_name(format), fingerprint_of(source),
                           merged.stamp)) {
    std::vector<ModelTensor> tensors;
    for (const TensorEntry& entry : source.entries()) {
      WAN_CHECK(entry.is_weight(), kUnsupported, "{}: tensor {} holds no weights and cannot be converted",
                source.path(), entry.name);
      const bool matrix = is_block_matrix(entry, format);
      const DType dtype = matrix ? dtype_of(format) : plain_dtype(entry);
      planned_.push_back({&entry, dtype, matrix, tensors.size()});
      tensors.push_back({entry.name, dtype, entry.shape});
      if (!matrix || !has_row_scales(format)) continue;
      const std::string layer = entry.name.substr(0, entry.name.size() - std::string_view("weight").size());
      tensors.push_back({layer + kScaleSuffix, DType::kF32, {entry.shape[0], 1}});
    }
    file_ = is_gguf(format) ? gguf_model(std::move(tensors), stamp_)
                            : safetensors_model(std::move(tensors), stamp_);
    std::string states = merged.states + version();
    for (const fs::path& file : source.mapped_files()) states += state_of(file);
    identity_ = fmt::format("{} as of {:016x}", stamp_, fnv_hash(std::as_bytes(std::span(states))));
  }

  /// What a disk must still have room for.
  std::int64_t missing_bytes(const fs::path& target) const {
    return std::max<std::int64_t>(0, file_.bytes - UnfinishedModel::bytes_there(target));
  }

  /// Whether the file is there already, of this conversion. Throws InvalidArgument where it is another one.
  bool is_done(const fs::path& target) const {
    if (!file_exists(target)) return false;
    const Checkpoint there = Checkpoint::open(target);
    const auto stamp = there.metadata().find(kConversionKey);
    WAN_CHECK(stamp != there.metadata().end() && stamp->second == stamp_, kInvalidArgument,
              "{} is there already and is not this conversion's; name another folder, or remove it",
              target.string());
    return true;
  }

  void run(const fs::path& target, const ConversionProgress& progress) const {
    UnfinishedModel out(target, identity_, parts());
    const std::size_t whole = std::max<std::size_t>(1, out.errors().size()) - 1;  // the header comes first
    if (progress.on_notice && out.replaces_another())
      progress.on_notice(fmt::format(
          "{}: what is unfinished there is of another source, of one that has changed since, or of other "
          "settings; it begins again",
          target.string()));
    if (progress.on_notice && whole > 0)
      progress.on_notice(
          fmt::format("{}: {} of {} tensors are there already", target.string(), whole, planned_.size()));
    try {
      if (out.errors().empty()) out.write(std::as_bytes(std::span(file_.header)), 0);
      for (std::size_t i = 0; i < planned_.size(); ++i) {
        if (i >= whole) write_next(planned_[i], out);
        if (progress.on_tensor) progress.on_tensor(written(planned_[i], out.errors()[i + 1]));
      }
      out.commit();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) out.remove();  // another source is needed
      throw;
    }
  }

 private:
  static double relative(const Squares& sums) {
    return sums.values > 0 ? std::sqrt(sums.errors / sums.values) : 0;
  }

  void check_finite(const TensorEntry& source, bool is_finite) const {
    WAN_CHECK(is_finite, kBadFile,
              "{}: {} holds values that are not finite; a model that does makes no video", source_.path(),
              quote_name(source.name));
  }

  /// The header, and each tensor of the source with its scales, which follow it without a gap.
  std::vector<UnfinishedModel::Part> parts() const {
    std::vector<UnfinishedModel::Part> parts{{0, static_cast<std::int64_t>(file_.header.size())}};
    for (const Planned& planned : planned_) {
      const ModelTensor& first = file_.tensors[planned.index];
      const ModelTensor& last = file_.tensors[planned.index + (has_scales(planned) ? 1 : 0)];
      parts.push_back({first.offset, last.offset + bytes_of(last) - first.offset});
    }
    return parts;
  }

  bool has_scales(const Planned& planned) const { return planned.is_matrix && has_row_scales(format_); }

  static std::int64_t bytes_of(const ModelTensor& tensor) {
    return static_cast<std::int64_t>(dtype_bytes(tensor.dtype, tensor.shape.elements()));
  }

  ConvertedTensor written(const Planned& planned, double error) const {
    const ModelTensor& tensor = file_.tensors[planned.index];
    return {.model = model_,
            .name = tensor.name,
            .dtype = dtype_name(tensor.dtype),
            .bytes = bytes_of(tensor),
            .error = error};
  }

  void write_next(const Planned& planned, UnfinishedModel& out) const {
    if (planned.is_matrix)
      write_matrix(*planned.source, out);
    else
      write_plain(planned, out);
    source_.done_reading(*planned.source);
  }

  void write_matrix(const TensorEntry& source, UnfinishedModel& out) const {
    const auto rows = static_cast<std::size_t>(source.shape[0]);
    const std::size_t code_bytes = dtype_bytes(dtype_of(format_), source.shape[1]) * rows;
    std::vector<float> scales(has_row_scales(format_) ? rows : 0);
    std::vector<std::byte> part(code_bytes + scales.size() * sizeof(float));
    const auto codes = std::span(part).first(code_bytes);
    const Squares squares = quantize_matrix(format_, source, codes, scales);
    check_finite(source, std::isfinite(squares.values));
    WAN_CHECK(
        std::isfinite(squares.errors), kUnsupported,
        "{}: {} holds values that are too large for the scales of {}, which are halves; convert to bf16, fp8 "
        "or int8",
        source_.path(), quote_name(source.name), matrix_format_name(format_));
    if (!scales.empty()) std::memcpy(part.data() + code_bytes, scales.data(), part.size() - code_bytes);
    out.write(part, relative(squares));
  }

  void write_plain(const Planned& planned, UnfinishedModel& out) const {
    constexpr std::int64_t kPiece = std::int64_t{1} << 18;
    const TensorEntry& source = *planned.source;
    const std::int64_t count = source.elements();
    const Tensor values(planned.dtype, {count});
    const Tensor given(DType::kF32, {std::min(count, kPiece)});
    const Tensor rounded(DType::kF32, given.shape());
    Squares squares{};
    for (std::int64_t first = 0; first < count; first += kPiece) {
      const std::int64_t size = std::min(kPiece, count - first);
      const TensorView before = given.view().slice(0, 0, size);
      const TensorView after = rounded.view().slice(0, 0, size);
      const TensorView piece = values.view().slice(0, first, first + size);
      convert_changed(source, first, before);
      convert(before, piece);
      convert(piece, after);
      for (std::int64_t i = 0; i < size; ++i) {
        const auto value = static_cast<double>(before.as<float>()[i]);
        const double off = static_cast<double>(after.as<float>()[i]) - value;
        squares.errors += off * off;
        squares.values += value * value;
      }
    }
    check_finite(source, std::isfinite(squares.values));
    out.write(std::span<const std::byte>(values.view().data(), values.view().bytes()), relative(squares));
  }

  const Checkpoint& source_;
  MatrixFormat format_;
  std::string model_;
  std::string stamp_;     // in the finished file
  std::string identity_;  // of one that is not
  std::vector<Planned> planned_;
  ModelFile file_;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  WAN_CHECK(is_folder(folder), kIo, "cannot make the folder {}: {}", folder.string(), error.message());
}

/// The nearest folder that is there.
fs::path existing_folder(const fs::path& folder) {
  fs::path there = folder;
  while (!is_folder(there) && there.has_relative_path() && there.has_parent_path())
    there = there.parent_path();
  return is_folder(there) ? there : fs::path(".");
}

/// Whole or not at all; one of as many bytes is taken for a copy that is there.
void copy_part(const fs::path& from, const fs::path& to) {
  const MappedFile source(from);
  std::error_code none;
  if (file_exists(to)) {
    WAN_CHECK(fs::file_size(to, none) == source.bytes().size(), kInvalidArgument,
              "{} is there already and is no copy of {}; name another folder, or remove it", to.string(),
              from.string());
    return;
  }
  constexpr std::size_t kPiece = std::size_t{16} << 20;
  remove_abandoned(std::span(&to, 1));
  RawFile out(to);
  for (std::size_t at = 0; at < source.bytes().size(); at += kPiece) {
    const auto piece = source.bytes().subspan(at, std::min(kPiece, source.bytes().size() - at));
    out.write_at(static_cast<std::int64_t>(at), piece);
    source.check_whole();
    source.release_pages(piece);
  }
  out.commit();
}

void copy_folder(const fs::path& from, const fs::path& to) {
  make_folder(to);
  for (const fs::path& path : list_folder(from))
    if (file_kind(path) == FileKind::kRegular && !path.filename().string().starts_with('.'))
      copy_part(path, to / path.filename());
}

/// Whether its keys are those of the official code, not diffusers'.
bool is_official_config(const fs::path& path) {
  constexpr int kDepth = 8;
  const nlohmann::json json = read_json_file(path, kDepth);
  return json.is_object() && json.contains("num_heads");
}

void write_config(const WanConfig& config, const fs::path& source, const fs::path& to) {
  const fs::path given = is_folder(source) ? source / "config.json" : folder_of(source) / "config.json";
  if (file_exists(given) && is_official_config(given)) return copy_part(given, to);
  if (file_exists(to)) return;
  WAN_CHECK(!config.speech, kUnsupported, "{} has no config.json, which a model of speech needs",
            source.string());
  nlohmann::ordered_json json = {{"_class_name", "WanModel"},
                                 {"dim", config.dim},
                                 {"eps", config.eps},
                                 {"ffn_dim", config.ffn_dim},
                                 {"freq_dim", config.freq_dim},
                                 {"in_dim", config.in_dim},
                                 {"model_type", config.model_type},
                                 {"num_heads", config.num_heads},
                                 {"num_layers", config.num_layers},
                                 {"out_dim", config.out_dim},
                                 {"text_len", config.text_len}};
  if (config.animate) {
    json["_class_name"] = "WanAnimateModel";
    json["motion_encoder_dim"] = config.animate->motion_dim;
    json["use_img_emb"] = true;
    json.erase("model_type");
  }
  write_file_atomically(to, json_text(json, 2) + "\n");
}

/// The parts that are not converted, as far as they are in the official layout.
void copy_others(const CheckpointFiles& files, const fs::path& target, const ConversionProgress& progress) {
  const auto copy = [&](const fs::path& from, const fs::path& name) {
    if (from.empty()) return;
    if (from.filename() != name.filename()) {
      if (progress.on_notice)
        progress.on_notice(
            fmt::format("{} is not called as in the official layout and stays where it is", from.string()));
      return;
    }
    make_folder(folder_of(target / name));
    if (is_folder(from))
      copy_folder(from, target / name);
    else
      copy_part(from, target / name);
  };
  copy(files.text_encoder, "models_t5_umt5-xxl-enc-bf16.pth");
  copy(files.tokenizer, "google/umt5-xxl");
  copy(files.vae, files.task->facts().vae_file());
  copy(files.audio_encoder, files.audio_encoder.filename());
  copy(files.image_encoder, kImageEncoderFile);
  const fs::path defaults = files.root / "generation_config.json";
  if (!files.root.empty() && file_exists(defaults)) copy_part(defaults, target / defaults.filename());
}

}  // namespace

void convert(const ConversionOptions& options, const ConversionProgress& progress) {
  const std::optional<MatrixFormat> format = parse_matrix_format(options.format);
  WAN_CHECK(format, kInvalidArgument, "the format {}: expected bf16, fp8, int8, q8_0 or q4_0",
            options.format);
  const CheckpointModels models(options.ckpt_dir, {}, options.parts, options.lora,
                                options.lora_allow_unmatched);
  const CheckpointFiles& files = models.files;
  WAN_CHECK(options.ckpt_dir.empty() || !is_folder(options.target) ||
                real_path(options.target) != real_path(options.ckpt_dir),
            kInvalidArgument, "{} is the checkpoint itself; name another folder", options.target.string());
  const std::vector<std::string_view>& folders = models.task().facts().transformers;
  const MergedLoras merged(options.lora);
  std::vector<ModelConversion> conversions;
  std::vector<fs::path> targets;
  std::vector<bool> done;
  std::int64_t needed = 0;
  for (std::size_t i = 0; i < models.transformer_checkpoints.size(); ++i) {
    const bool alone = folders[i] == ".";
    conversions.emplace_back(models.transformer_checkpoints[i], *format,
                             alone ? "model" : std::string(folders[i]), merged);
    const fs::path folder = alone ? options.target : options.target / folders[i];
    const char* const names[] = {"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.gguf"};
    targets.push_back(folder / names[is_gguf(*format) ? 1 : 0]);
    const fs::path other = folder / names[is_gguf(*format) ? 0 : 1];
    WAN_CHECK(!file_exists(other), kInvalidArgument,
              "{} is there already and is not this conversion's; name another folder, or remove it",
              other.string());
    done.push_back(conversions[i].is_done(targets[i]));
    if (!done[i]) needed += conversions[i].missing_bytes(targets[i]);
  }
  const std::optional<std::int64_t> free = free_disk_bytes(existing_folder(options.target));
  WAN_CHECK(!free || *free >= needed, kIo, "{} has {:.1f} GB free, the transformers take {:.1f}",
            options.target.string(), static_cast<double>(free.value_or(0)) * 1e-9,
            static_cast<double>(needed) * 1e-9);
  make_folder(options.target);
  if (progress.on_notice)
    for (const std::string& notice : models.lora_notices) progress.on_notice(notice);
  for (std::size_t i = 0; i < conversions.size(); ++i) {
    make_folder(folder_of(targets[i]));
    write_config(models.transformers[i], files.transformers[i], folder_of(targets[i]) / "config.json");
    if (!done[i]) {
      conversions[i].run(targets[i], progress);
    } else {
      UnfinishedModel::tidy(targets[i]);
      if (progress.on_notice) progress.on_notice(fmt::format("{} is there already", targets[i].string()));
    }
  }
  copy_others(files, options.target, progress);
}

}  // namespace wan
