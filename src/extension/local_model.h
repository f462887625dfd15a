#pragma once
// LocalQwen: Qwen2.5 in this process: its folder, its weights on a device, and an answer to a question.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "wan/engine.h"
#include "wan/events.h"

namespace wan {

/// The folder of prompt_extend_model: a path, or of a model's name ("Qwen2.5_7B", "Qwen/Qwen2.5-7B-Instruct") a folder of that name here
/// or beside `ckpt_dir`, a folder or the name of a downloaded one; where downloads are put, or Hugging Face's cache. Throws BadFile where there is none.
std::filesystem::path find_qwen_folder(const std::string& model, bool has_image,
                                       const std::filesystem::path& ckpt_dir);

constexpr int kMostAnswerTokens = 512;  // as officially

struct LocalQuestion {
  std::string system;
  std::string prompt;
  std::filesystem::path image = {};
  std::uint64_t seed = 0;
  int max_tokens = kMostAnswerTokens;
};

struct LocalAnswer {
  std::string text;
  bool ended = true;                   // by the model; otherwise cut after max_tokens
  std::vector<std::int64_t> ids = {};  // of the text
};

/// A question as Qwen2.5 reads it: turns of system and user, and the beginning of the answer; before the prompt, what `picture` spells.
std::string chat_turns(const std::string& system, const std::string& prompt, const std::string& picture = "");

/// Throws Unsupported where there is an image and the model of the folder sees none.
void check_sees(const std::filesystem::path& folder, const std::filesystem::path& image);

class LocalQwen {
 public:
  /// Maps and checks the files, then loads: all of the blocks where they fit, otherwise as many at a time as do; on the CPU, with a notice,
  /// where not even two of them fit on a GPU. Throws BadFile, Unsupported, OutOfMemory, Cancelled.
  LocalQwen(const std::filesystem::path& folder, const EngineOptions& options, const EventHandler& on_event,
            const std::atomic<bool>* cancelled);
  ~LocalQwen();
  LocalQwen(const LocalQwen&) = delete;
  LocalQwen& operator=(const LocalQwen&) = delete;

  /// `told` gets the number of tokens so far.
  LocalAnswer ask(const LocalQuestion& question, const std::function<void(std::int64_t)>& told,
                  const std::atomic<bool>* cancelled);

 private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace wan
