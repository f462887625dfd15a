#include "engine/tokenizer_part.h"

#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "layouts/part.h"

namespace wan {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::unique_ptr<Tokenizer> read_file(const std::filesystem::path& path) {
  if (path.filename() == "tokenizer.json")
    return load_tokenizer(folder_of(path));  // with what lies beside it
  const std::string extension = path.extension().string();
  if (extension == ".json" || extension == ".model") {
    const MappedFile file(path);
    return extension == ".json" ? parse_tokenizer_json(text_of(file.bytes()))
                                : parse_spiece_model(text_of(file.bytes()));
  }
  const Checkpoint checkpoint = Checkpoint::open(path);
  const std::span<const std::byte> within = tokenizer_within(checkpoint);
  WAN_CHECK(
      !within.empty(), kBadFile,
      "{} holds no tokenizer; name the tokenizer.json or spiece.model of google/umt5-xxl with `tokenizer`",
      path.string());
  return parse_spiece_model(text_of(within));
}

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_part(const std::filesystem::path& path) {
  if (is_folder(path)) return load_tokenizer(path);
  try {
    return read_file(path);
  } catch (const Error& error) {
    fail(error.code(), "the tokenizer in {}: {}", path.string(), error.what());
  }
}

}  // namespace wan
