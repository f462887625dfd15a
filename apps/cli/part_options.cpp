#include "part_options.h"

namespace wan {

void add_part_options(CLI::App& command, CheckpointParts& parts, const std::string& group) {
  const auto add = [&](const char* option, std::filesystem::path& file, const char* meaning) {
    command.add_option(option, file, meaning)->group(group);
  };
  add("--high_noise", parts.high_noise, "File of the high-noise expert, in place of the folder's");
  add("--low_noise", parts.low_noise, "File of the low-noise expert");
  add("--transformer", parts.transformer, "File of the transformer, of a model that has one");
  add("--text_encoder", parts.text_encoder, "File of the umT5 text encoder");
  add("--vae", parts.vae, "File of the VAE");
  add("--tokenizer", parts.tokenizer,
      "tokenizer.json or spiece.model of umT5, or their folder (default: the checkpoint's, or what the text "
      "encoder's file holds)");
}

}  // namespace wan
