#include "extension/model_files.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "layouts/hub_cache.h"
#include "models/qwen/weights.h"
#include "tokenizers/listed_tokenizer.h"
#include "wan/download.h"
#include "weights/gguf.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// The official short names.
constexpr std::array<std::pair<const char*, const char*>, 5> kShortNames{{
    {"Qwen2.5_3B", "Qwen2.5-3B-Instruct"},
    {"Qwen2.5_7B", "Qwen2.5-7B-Instruct"},
    {"Qwen2.5_14B", "Qwen2.5-14B-Instruct"},
    {"QwenVL2.5_3B", "Qwen2.5-VL-3B-Instruct"},
    {"QwenVL2.5_7B", "Qwen2.5-VL-7B-Instruct"},
}};

bool is_model_folder(const fs::path& folder) {
  return file_exists(folder / "config.json");
}

bool is_gguf(const fs::path& path) {
  return path.extension() == ".gguf" && file_exists(path);
}

/// "Qwen/Qwen2.5-7B-Instruct" of either name.
std::string hub_name(const std::string& model) {
  for (const auto& [name, folder] : kShortNames)
    if (model == name) return std::string("Qwen/") + folder;
  return model.find('/') == model.npos ? "Qwen/" + model : model;
}

/// The folder that holds the checkpoint's, which may be named as a download.
fs::path folder_round(const fs::path& ckpt_dir) {
  const fs::path named =
      file_exists(ckpt_dir) ? ckpt_dir : downloaded_folder(ckpt_dir.string()).value_or(ckpt_dir);
  return real_path(named).parent_path();
}

/// Places where the hub's model may be, in the order in which they are looked at.
std::vector<fs::path> folders_of(const std::string& name, const fs::path& ckpt_dir) {
  const std::string last = name.substr(name.find('/') + 1);
  std::vector<fs::path> folders{last};
  if (!ckpt_dir.empty()) folders.push_back(folder_round(ckpt_dir) / last);
  if (const auto own = downloaded_folder(name)) folders.push_back(*own);
  if (const auto snapshot =
          downloaded_model(name)) {  // the main branch's first; another where that lacks files
    const std::vector<fs::path> snapshots = snapshots_of(snapshot->parent_path().parent_path());
    folders.insert(folders.end(), snapshots.begin(), snapshots.end());
  }
  return folders;
}

LanguageModelFiles open_folder(const fs::path& folder) {
  return {.path = folder,
          .tokenizer = load_byte_level_tokenizer(folder),
          .sampling = read_sampling_config(folder),
          .config = read_qwen_config(folder),
          .checkpoint = Checkpoint::open(folder)};
}

ByteLevelTokenizer read_tokenizer(const fs::path& file, const std::map<std::string, std::string>& pairs) {
  const MappedFile mapped(file);
  GgufLists lists = parse_gguf_lists(mapped.bytes(), file.string());
  const auto name = pairs.find("tokenizer.ggml.pre");
  return make_listed_tokenizer({.name = name != pairs.end() ? name->second : std::string_view(),
                                .pieces = lists.texts["tokenizer.ggml.tokens"],
                                .merges = lists.texts["tokenizer.ggml.merges"],
                                .kinds = lists.integers["tokenizer.ggml.token_type"]},
                               file.string());
}

/// What Qwen2.5 Instruct's generation_config.json says, which no GGUF file holds.
SamplingConfig published_sampling(const ByteLevelTokenizer& tokenizer) {
  SamplingConfig sampling{.samples = true,
                          .temperature = 0.7,
                          .top_k = 20,
                          .top_p = 0.8,
                          .repetition_penalty = 1.05,
                          .end_ids = {}};
  for (const char* token : {"<|im_end|>", "<|endoftext|>"})
    if (const auto id = tokenizer.find(token)) sampling.end_ids.push_back(*id);
  return sampling;
}

LanguageModelFiles open_gguf(const fs::path& path) {
  const fs::path first = gguf_parts(path).front();  // it has the pairs that matter
  const Checkpoint file = Checkpoint::open(path);
  const std::map<std::string, std::string>& pairs = file.metadata();
  const Checkpoint checkpoint =
      file.renamed([](const TensorEntry& entry) { return qwen_name_of_gguf(entry.name); });
  const TensorEntry* embeddings = checkpoint.find("model.embed_tokens.weight");
  WAN_CHECK(embeddings != nullptr && embeddings->shape.rank() == 2, kBadFile,
            "[{}] lacks the table token_embd.weight; use a whole GGUF file of Qwen2.5 Instruct",
            path.string());
  QwenConfig config = qwen_config_of_gguf(pairs, embeddings->shape[0],
                                          checkpoint.find("lm_head.weight") == nullptr, first.string());
  ByteLevelTokenizer tokenizer = read_tokenizer(first, pairs);
  const fs::path folder = path.parent_path();
  SamplingConfig sampling = file_exists(folder / "generation_config.json") ? read_sampling_config(folder)
                                                                           : published_sampling(tokenizer);
  return {.path = path,
          .tokenizer = std::move(tokenizer),
          .sampling = std::move(sampling),
          .config = std::move(config),
          .checkpoint = checkpoint};
}

}  // namespace

fs::path find_language_model(const std::string& model, bool has_image, const fs::path& ckpt_dir) {
  if (!model.empty() && (is_model_folder(model) || is_gguf(model))) return model;
  const std::string name = hub_name(!model.empty() ? model : has_image ? "QwenVL2.5_7B" : "Qwen2.5_14B");
  for (const fs::path& folder : folders_of(name, ckpt_dir))
    if (is_model_folder(folder)) return folder;
  fail(ErrorCode::kBadFile,
       "`prompt_extend_model` {}: there is no such GGUF file, nor a folder with a config.json, nor {} here, "
       "beside "
       "`ckpt_dir`, among downloaded models or in the cache of Hugging Face; "
       "download {} or name its folder, or use `prompt_extend_method` openai with a server",
       model.empty() ? name : model, name.substr(name.find('/') + 1), name);
}

void check_sees(const fs::path& model, const fs::path& image) {
  if (image.empty()) return;
  WAN_CHECK_FIELD(!is_gguf(model) && read_qwen_config(model).vision, kUnsupported, "prompt_extend_model",
                  "the model in {} reads text alone: with `image` use the folder of Qwen2.5-VL, or a server "
                  "with a model that sees",
                  model.string());
}

DType LanguageModelFiles::weights_dtype() const {
  const TensorEntry* entry = checkpoint.find("model.layers.0.mlp.up_proj.weight");
  return entry != nullptr && (entry->dtype == DType::kBF16 || is_packed(entry->dtype)) ? DType::kBF16
                                                                                       : DType::kF32;
}

LanguageModelFiles open_language_model(const fs::path& path) {
  return is_gguf(path) ? open_gguf(path) : open_folder(path);
}

}  // namespace wan
