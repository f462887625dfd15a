#pragma once
// LocalQwen: Qwen2.5 in this process: its files, its weights on a device, and an answer to a question.

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

class LocalQwen {
 public:
  /// `model`: a folder or a GGUF file (model_files.h). Maps and checks the files, then loads: all of the blocks where they fit, otherwise as many at a time as do; on the CPU, with a notice,
  /// where not even two of them fit on a GPU. Throws BadFile, Unsupported, OutOfMemory, Cancelled.
  LocalQwen(const std::filesystem::path& model, const EngineOptions& options, const EventHandler& on_event,
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
