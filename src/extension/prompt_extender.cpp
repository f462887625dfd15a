#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "extension/chat_client.h"
#include "extension/instructions.h"
#include "extension/local_model.h"
#include "extension/model_files.h"
#include "layouts/hub_cache.h"
#include "media/load_image.h"
#include "media/png_encode.h"
#include "media/resample.h"
#include "pipeline/phase_reporter.h"
#include "tokenizers/base64.h"
#include "wan/extension.h"

namespace wan {

namespace {

/// A PNG of at most so many pixels, as the official code sends it.
std::string image_data_url(const std::filesystem::path& path) {
  constexpr double kMostPixels = 512 * 512;
  const Image image = with_field("image", [&] { return load_image(path); });
  const double area = std::min(static_cast<double>(image.width) * image.height, kMostPixels);
  const double ratio = static_cast<double>(image.height) / image.width;
  const auto side = [](double length) { return std::max(1, static_cast<int>(std::nearbyint(length))); };
  const Image small = resize_bicubic(image, side(std::sqrt(area / ratio)), side(std::sqrt(area * ratio)));
  const std::vector<std::uint8_t> png = encode_png(small.rgb.data(), small.width, small.height, {});
  return "data:image/png;base64," + encode_base64({reinterpret_cast<const char*>(png.data()), png.size()});
}

/// On one line, which is what text encoders were trained on.
std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!space)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

std::uint64_t seed_of(const GenerationRequest& request) {
  if (request.seed && *request.seed >= 0) return static_cast<std::uint64_t>(*request.seed);
  return std::random_device()();
}

}  // namespace

struct PromptExtender::Impl {
  Impl(PromptExtension made_so, EngineOptions runs_on)
      : extension(std::move(made_so)), engine(std::move(runs_on)) {
    const std::string& method = extension.prompt_extend_method;
    WAN_CHECK(method == "local_qwen" || method == "dashscope" || method == "openai", kInvalidArgument,
              "`prompt_extend_method` {}: expected local_qwen, dashscope or openai", method);
    WAN_CHECK(
        !is_local() || extension.prompt_extend_url.empty(), kInvalidArgument,
        "`prompt_extend_url` names a server, and `prompt_extend_method` local_qwen asks none; use openai");
  }

  bool is_local() const { return extension.prompt_extend_method == "local_qwen"; }

  /// Where to find what the request needs.
  void check(const GenerationRequest& request) const {
    static_cast<void>(instruction_for(request, extension));
    if (extension.prompt_extend_fallback) return;  // what is missing will be told, and done without
    const bool has_image = !request.image.empty();
    if (is_local()) {
      check_sees(find_language_model(extension.prompt_extend_model, has_image, engine.ckpt_dir),
                 request.image);
    } else {
      static_cast<void>(find_chat_server(extension, has_image));
    }
  }

  ExtendedPrompt ask(const GenerationRequest& request, const std::string& instruction,
                     const EventHandler& on_event, const std::atomic<bool>* cancelled) {
    return is_local() ? ask_local(request, instruction, on_event, cancelled)
                      : ask_server(request, instruction, on_event, cancelled);
  }

  ExtendedPrompt ask_local(const GenerationRequest& request, const std::string& instruction,
                           const EventHandler& on_event, const std::atomic<bool>* cancelled) {
    const std::filesystem::path found =
        find_language_model(extension.prompt_extend_model, !request.image.empty(), engine.ckpt_dir);
    if (!model || loaded != found) {  // requests with and without an image may have models of their own
      model.reset();
      model.emplace(found, engine, on_event, cancelled);
      loaded = found;
    }
    PhaseReporter phase(on_event, Phase::kExtend, kMostAnswerTokens);
    const LocalAnswer answer = model->ask(
        {.system = instruction, .prompt = request.prompt, .image = request.image, .seed = seed_of(request)},
        [&](std::int64_t tokens) { phase.progress(tokens); }, cancelled);
    phase.finish();
    tell_cut(answer.ended, on_event);
    return {.prompt = answer.text, .model = model_name_of(found)};
  }

  ExtendedPrompt ask_server(const GenerationRequest& request, const std::string& instruction,
                            const EventHandler& on_event, const std::atomic<bool>* cancelled) {
    const bool has_image = !request.image.empty();
    const ChatServer server = find_chat_server(extension, has_image);
    const ChatQuestion question{.system = instruction,
                                .prompt = request.prompt,
                                .image = has_image ? image_data_url(request.image) : "",
                                .seed = seed_of(request)};
    PhaseReporter phase(on_event, Phase::kExtend, 1);
    ChatPatience patience;
    patience.retries.waiting = [&](const std::string& reason, double seconds) {
      on_event(Notice{format_message("{}; asking again in {:.0f} s", reason, seconds)});
    };
    const ChatAnswer answer = ask_chat_server(server, question, patience, cancelled);
    phase.progress(1);
    phase.finish();
    tell_cut(answer.ended, on_event);
    return {.prompt = answer.text, .model = server.model};
  }

  static void tell_cut(bool ended, const EventHandler& on_event) {
    if (ended) return;
    on_event(Notice{
        format_message("the language model was not at its answer's end: the extended prompt is cut off")});
  }

  PromptExtension extension;
  EngineOptions engine;
  std::optional<LocalQwen> model;
  std::filesystem::path loaded;  // the model's folder or file
};

PromptExtender::PromptExtender(PromptExtension extension, EngineOptions engine)
    : impl_(std::make_unique<Impl>(std::move(extension), std::move(engine))) {}

PromptExtender::~PromptExtender() = default;
PromptExtender::PromptExtender(PromptExtender&&) noexcept = default;
PromptExtender& PromptExtender::operator=(PromptExtender&&) noexcept = default;

void PromptExtender::check(const GenerationRequest& request) const {
  impl_->check(request);
}

ExtendedPrompt PromptExtender::extend(const GenerationRequest& request, const EventHandler& told,
                                      const std::atomic<bool>* cancelled) {
  const EventHandler on_event = told ? told : [](const Event&) {};
  const std::string instruction = instruction_for(request, impl_->extension);
  try {
    ExtendedPrompt extended = impl_->ask(request, instruction, on_event, cancelled);
    extended.prompt = on_one_line(extended.prompt);
    WAN_CHECK(!extended.prompt.empty(), kIo, "the language model gave an empty answer; try another `seed`");
    on_event(PromptExtended{request.prompt, extended.prompt, extended.model});
    return extended;
  } catch (const Error& error) {
    if (!impl_->extension.prompt_extend_fallback || error.code() == ErrorCode::kCancelled) throw;
    on_event(Notice{format_message("the prompt is not extended, and used as it was given: {}",
                                   MessagePart{error.what()})});
    return {.prompt = request.prompt};
  }
}

}  // namespace wan
