#include "extension_options.h"

namespace wan {

void add_extension_options(CLI::App& command, PromptExtension& extension, const std::string& group) {
  command
      .add_option("--prompt_extend_method", extension.prompt_extend_method,
                  "local_qwen: Qwen2.5 in this program; dashscope, with the key in DASH_API_KEY; openai: any "
                  "server with "
                  "chat completions, such as llama-server, vLLM or Ollama")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--prompt_extend_model", extension.prompt_extend_model,
                  "The server's name of a model; of local_qwen a folder, a GGUF file, or Qwen2.5_3B, "
                  "Qwen2.5_7B or Qwen2.5_14B "
                  "(default: qwen-plus, qwen-vl-max with an image; Qwen2.5_14B)")
      ->group(group);
  command
      .add_option("--prompt_extend_target_lang", extension.prompt_extend_target_lang,
                  "Language of the extended prompt: zh or en")
      ->capture_default_str()
      ->group(group);
  command
      .add_option(
          "--prompt_extend_url", extension.prompt_extend_url,
          "The server's address, such as http://localhost:8080/v1 (default: DASH_API_URL, OPENAI_BASE_URL)")
      ->group(group);
  command
      .add_option_function<std::string>(
          "--prompt_extend_system",
          [&extension](const std::string& file) { extension.prompt_extend_system = file; },
          "A text file with the instruction to use instead of the task's")
      ->type_name("TEXT")
      ->group(group);
  command
      .add_flag("--prompt_extend_fallback", extension.prompt_extend_fallback,
                "Where extension fails, go on with the prompt as it is")
      ->group(group);
}

void extend_request(std::optional<PromptExtender>& extender, GenerationRequest& request,
                    const EventHandler& on_event, const std::atomic<bool>* cancelled) {
  if (!extender) return;
  request.prompt = extender->extend(request, on_event, cancelled).prompt;
  extender.reset();  // its memory is the video's
}

}  // namespace wan
