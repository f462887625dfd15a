#pragma once
// Prompt extension: a language model makes a short prompt a detailed one, as the video models were trained on, before anything of a
// video is loaded. The model is one of a server's, or Qwen2.5 in this process.

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "wan/engine.h"

namespace wan {

/// Who extends prompts, and how.
struct PromptExtension {
  /// "local_qwen": Qwen2.5 in this process; "dashscope": Alibaba's service, with the key in DASH_API_KEY; "openai": any server that has
  /// chat completions of OpenAI's kind (llama-server, vLLM, Ollama, OpenAI).
  std::string prompt_extend_method = "local_qwen";
  /// The server's name of a model; of local_qwen a folder, a GGUF file, or one of Qwen2.5_3B, Qwen2.5_7B, Qwen2.5_14B or a name on the hub, whose
  /// folder is looked for. Empty: qwen-plus, with an image qwen-vl-max; Qwen2.5_14B.
  std::string prompt_extend_model = {};
  /// Language of the result: "zh" or "en".
  std::string prompt_extend_target_lang = "zh";
  /// The server's address, such as http://localhost:8080/v1. Empty: DASH_API_URL or dashscope.aliyuncs.com; OPENAI_BASE_URL.
  std::string prompt_extend_url = {};
  /// A text file with the instruction to use instead of the task's.
  std::filesystem::path prompt_extend_system = {};
  /// Where extension fails, go on with the prompt as it was given.
  bool prompt_extend_fallback = false;

  friend bool operator==(const PromptExtension&, const PromptExtension&) = default;
};

struct ExtendedPrompt {
  std::string prompt;      // what to make the video from
  std::string model = {};  // that wrote it; empty where the given prompt is kept
};

class PromptExtender {
 public:
  /// A local model runs where `engine` says: device, threads, memory_limit, precision. Its folder is looked for beside engine.ckpt_dir
  /// too. Nothing is loaded or asked yet. Throws InvalidArgument for what contradicts itself.
  PromptExtender(PromptExtension extension, EngineOptions engine);
  ~PromptExtender();
  PromptExtender(PromptExtender&&) noexcept;
  PromptExtender& operator=(PromptExtender&&) noexcept;

  /// What extend() would refuse without a model: tasks without an instruction, no key, no model's folder.
  void check(const GenerationRequest& request) const;
  /// Of the request, its task, prompt, image and seed count. A local model is loaded with the first prompt and stays as long as this
  /// does. Tells Phase::kExtend, notices, and PromptExtended. Throws Cancelled, and, without prompt_extend_fallback, what went wrong.
  ExtendedPrompt extend(const GenerationRequest& request, const EventHandler& on_event,
                        const std::atomic<bool>* cancelled = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan
