#include "kept/recovery.h"

#include <unistd.h>

#include <algorithm>
#include <new>

#include "base/files.h"
#include "base/log.h"
#include "base/shell_quote.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

Tensor to_host(const RunContext& run, const TensorView& view) {
  Tensor host(DType::kF32, view.shape());
  run.exec.backend.download(view, host);
  return host;
}

SavedLatents to_host(const RunContext& run, const Reached& reached, const LatentsFile& file) {
  SavedLatents saved;
  saved.next_step = reached.state.next_step;
  saved.settings = run.settings;
  saved.automatic = !file.requested;
  saved.segment = reached.segment;
  saved.segments = reached.segments;
  for (const Tensor& latent : reached.done) {
    saved.done.emplace_back(DType::kF32, latent.shape());
    std::copy_n(latent.as<float>(), latent.elements(), saved.done.back().as<float>());
  }
  for (const Tensor& slot : reached.state.slots) saved.slots.push_back(to_host(run, slot));
  if (!reached.condition.empty() && !saved.segment_finished())
    saved.condition = to_host(run, reached.condition);
  return saved;
}

MessagePart go_on_with(const fs::path& latents) {
  return {format_message("go on with `from_latents` {}", shell_quoted(latents))};
}

/// Whoever listens may fail, as on a terminal that was closed; what is kept must not depend on it.
void tell_quietly(const RunContext& run, const std::string& message) {
  try {
    run.tell(Notice{message});
  } catch (...) {
    log(LogLevel::kWarning, format_message("{} ({})", MessagePart{message}, current_failure().what()));
  }
}

}  // namespace

fs::path keep_latents(const RunContext& run, const Reached& reached, const LatentsFile& file) {
  const SavedLatents latents = to_host(run, reached, file);
  try {
    save_latents(file.path, latents);
    return file.path;
  } catch (const Error& error) {
    tell_quietly(run, error.what());
  }
  try {
    fs::path spare = temporary_folder() / fmt::format("wan-{}-{}", ::getpid(), file.path.filename().string());
    save_latents(spare, latents);
    tell_quietly(run, format_message("the latents are kept in {} instead", spare.string()));
    return spare;
  } catch (...) {
    tell_quietly(run, format_message("the latents could not be kept: {}", current_failure().what()));
    return {};
  }
}

void keep_and_rethrow(const RunContext& run, const Reached& reached, const LatentsFile& file,
                      const Error& error) {
  const fs::path kept = keep_latents(run, reached, file);
  if (kept.empty())
    throw Error(error.code(), format_message("{}; nothing could be kept", error.what()), error.field());
  const std::string where =
      reached.segments > 1 ? fmt::format(" of segment {} of {}", reached.segment + 1, reached.segments) : "";
  throw Error(error.code(),
              format_message("{}; {} of {} steps{} are kept in {}: {}", error.what(), reached.state.next_step,
                             run.settings.steps, where, kept.string(), go_on_with(kept)),
              error.field());
}

Error before_first_step(const Error& error, const SavedLatents* resumed) {
  if (resumed != nullptr)
    return Error(error.code(),
                 format_message("{}; no step was added, the kept latents are still in {}: {}", error.what(),
                                resumed->file.string(), go_on_with(resumed->file)),
                 error.field());
  if (error.code() != ErrorCode::kCancelled) return error;
  return Error(error.code(), format_message("{} before the first step was done; nothing is lost, start again",
                                            error.what()));
}

void rethrow_with_latents(const fs::path& kept, const Error& error) {
  if (kept.empty()) throw error;
  throw Error(error.code(),
              format_message("{}; the finished latents are kept in {}: {}", error.what(), kept.string(),
                             go_on_with(kept)),
              error.field());
}

Error current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kOutOfMemory,
                 "the machine's memory is used up; try `residency` streamed or a smaller `size`");
  } catch (const std::exception& error) {
    return Error(ErrorCode::kInternal, literal_text(error.what()));
  } catch (...) {
    return Error(ErrorCode::kInternal, "something was thrown that is no std::exception");
  }
}

// Slots that an update writes before anything reads them need no value; saved ones get theirs back.
void restore(const RunContext& run, const SavedLatents& resumed, DenoiseState& state) {
  const std::size_t expected = resumed.segment_finished() ? 1 : state.slots.size();
  WAN_CHECK(
      resumed.slots.size() == expected && resumed.slots[0].shape() == state.slots[0].shape(), kBadFile,
      "the kept latents hold {} tensors of {}, expected {} of {}: they belong to another model or solver",
      resumed.slots.size(), resumed.slots[0].shape().to_string(), expected,
      state.slots[0].shape().to_string());
  for (std::size_t slot = 0; slot < resumed.slots.size(); ++slot)
    run.exec.backend.upload(resumed.slots[slot], state.slots[slot]);
  state.next_step = resumed.segment_finished() ? run.settings.steps : resumed.next_step;
}

}  // namespace wan
