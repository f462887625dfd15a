#include "pipeline/encode_text.h"

#include "ops/finite.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

/// What was encoded on the CPU beside a device goes there.
Tensor on_device_of(Backend& backend, Tensor context) {
  if (context.view().device() == backend.device()) return context;
  Tensor uploaded(backend.allocator(), DType::kF32, context.shape());
  backend.upload(context, uploaded);
  return uploaded;
}

/// On rank 0.
Tensor encode(const RunContext& run, const TokenizedPrompt& tokens, const Umt5Encoder& encoder,
              const TextSize& size, const std::string& name) {
  if (tokens.truncated)
    run.tell(
        Notice{format_message("the {} has more than {} tokens; the rest was cut off", name, size.tokens)});
  if (run.dump != nullptr) {
    const std::int64_t shape[] = {1, static_cast<std::int64_t>(tokens.ids.size())};
    run.dump->integers("tokens_" + name, tokens.ids, shape);
    run.dump->integers("mask_" + name, tokens.mask, shape);
  }
  const std::span<const std::int64_t> used(tokens.ids.data(), static_cast<std::size_t>(tokens.used));
  ExecContext& exec = run.text_exec;
  Tensor context(exec.backend.allocator(), DType::kF32, {tokens.used, size.dim});
  encoder.encode(exec, used, context);
  const std::int64_t broken = count_non_finite(exec, context);
  WAN_CHECK(broken == 0, kBadFile,
            "the text encoder gave {} values that are not finite for the {}; its file is damaged", broken,
            name);
  if (run.dump != nullptr) run.dump->tensor(exec, "context_" + name, context);
  return on_device_of(run.exec.backend, std::move(context));
}

/// On every rank.
Tensor encode_for_all(const RunContext& run, const TokenizedPrompt& tokens, const Umt5Encoder* encoder,
                      const TextSize& size, const std::string& name) {
  Communicator& ranks = run.exec.communicator;
  Tensor context = ranks.rank() == 0
                       ? encode(run, tokens, *encoder, size, name)
                       : Tensor(run.exec.backend.allocator(), DType::kF32, {tokens.used, size.dim});
  if (ranks.size() > 1) ranks.broadcast(context, 0);
  return context;
}

}  // namespace

EncodedText encode_text(const RunContext& run, const Tokenizer& tokenizer, const Umt5Encoder* encoder,
                        const TextSize& size, bool needs_negative) {
  const auto encoded = [&](const std::string& text, const char* name) {
    return encode_for_all(run, tokenizer.tokenize(text, static_cast<int>(size.tokens)), encoder, size, name);
  };
  PhaseReporter phase(run.on_event, Phase::kText, needs_negative ? 2 : 1);
  EncodedText text;
  text.prompt = encoded(run.settings.prompt, "prompt");
  phase.progress(1);
  if (needs_negative) {
    text.negative = encoded(run.settings.negative_prompt, "negative");
    phase.progress(2);
  }
  if (&run.text_exec != &run.exec) run.text_exec.workspace.release();  // nothing else runs there
  phase.finish();
  return text;
}

}  // namespace wan
