#include "kept/recovery.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <new>

#include "base/files.h"
#include "base/log.h"
#include "base/shell_quote.h"
#include "kept/kept_generations.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

Tensor to_host(const RunContext& run, const TensorView& view) {
  Tensor host(DType::kF32, view.shape());
  run.exec.backend.download(view, host);
  return host;
}

}  // namespace

SavedLatents copy_to_host(const RunContext& run, const Reached& reached, const LatentsFile& file) {
  SavedLatents saved;
  saved.next_step = reached.state.next_step;
  saved.settings = run.settings;
  saved.automatic = !file.requested;
  saved.segment = reached.segment;
  saved.segments = reached.segments;
  saved.done = reached.done;
  for (const Tensor& slot : reached.state.slots) saved.slots.push_back(to_host(run, slot));
  if (!reached.condition.empty() && (reached.keeps_condition || !saved.segment_finished()))
    saved.condition = to_host(run, reached.condition);
  return saved;
}

MessagePart go_on_with(const fs::path& latents) {
  return {format_message("go on with `from_latents` {}", shell_quoted(latents))};
}

void tell_quietly(const RunContext& run, const std::string& message) {
  try {
    run.tell(Notice{message});
  } catch (...) {
    log(LogLevel::kWarning, format_message("{} ({})", MessagePart{message}, current_failure().what()));
  }
}

WrittenLatents write_latents(const SavedLatents& latents, const LatentsFile& file, const fs::path& newest) {
  WrittenLatents written;
  const auto save = [&](const std::function<fs::path()>& place) {
    try {
      const fs::path target = place();
      save_latents(target, latents, target == newest ? earlier_generation(target) : fs::path());
      written.file = target;
    } catch (...) {
      written.failures +=
          format_message("{}{}", written.failures.empty() ? "" : "; ", current_failure().what());
    }
    return !written.file.empty();
  };
  const fs::path& own = latents.finished() ? file.path : file.of_state();
  if (save([&] { return own; })) return written;
  for (const fs::path& spare : file.spares)
    if (spare != own && save([&] { return spare; })) return written;
  save([&] { return temporary_folder() / fmt::format("wan-{}-{}", ::getpid(), own.filename().string()); });
  return written;
}

fs::path keep_latents(const RunContext& run, const Reached& reached, const LatentsFile& file) {
  const WrittenLatents written = write_latents(copy_to_host(run, reached, file), file);
  if (written.file.empty()) {
    tell_quietly(run, format_message("the latents could not be kept: {}", MessagePart{written.failures}));
  } else if (!written.failures.empty()) {
    tell_quietly(run, written.failures);
    tell_quietly(run, format_message("the latents are kept in {} instead", written.file.string()));
  }
  return written.file;
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
