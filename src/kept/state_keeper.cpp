#include "kept/state_keeper.h"

#include <new>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/same_file.h"
#include "kept/kept_generations.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

bool is_same(const fs::path& a, const fs::path& b) {
  return a == b || is_same_file(a, b);
}

}  // namespace

StateKeeper::StateKeeper(const RunContext& run, LatentsFile file, const SavedLatents* resumed,
                         KeepInterval interval)
    : run_(run), file_(std::move(file)), schedule_(std::move(interval)) {
  if (resumed == nullptr || !resumed->settings) return;
  const fs::path& own = file_.of_state();
  const fs::path earlier = earlier_generation(own);
  if (is_same_file(resumed->file, earlier)) {  // the newest one is damaged
    earlier_ = earlier;
  } else if (is_same_file(resumed->file, own)) {
    newest_ = own;
    if (is_kept_by(*resumed->settings, earlier)) earlier_ = earlier;
  }
}

fs::path StateKeeper::after_step(const Reached& reached, bool before_switch) {
  if (!schedule_.is_due(before_switch)) return {};
  fs::path kept;
  schedule_.keep([&] {
    try {
      kept = keep(reached);
    } catch (const std::bad_alloc&) {
      tell_failures({.file = {}, .failures = "there is no memory for a copy of the run's state"});
    }
  });
  log(LogLevel::kDebug, fmt::format("keeping the state after step {} took {:.3f} s", reached.state.next_step,
                                    schedule_.took().count()));
  return kept;
}

fs::path StateKeeper::keep(const Reached& reached) {
  const WrittenLatents written = write_latents(copy_to_host(run_, reached, file_), file_, newest_);
  if (!written.failures.empty()) tell_failures(written);
  if (written.file.empty()) return {};
  const fs::path before = std::exchange(newest_, written.file);
  if (before.empty()) return newest_;  // the earlier one stays, where there is one
  const fs::path earlier =
      std::exchange(earlier_, before == written.file ? earlier_generation(before) : before);
  if (!is_same(earlier, earlier_)) remove(earlier, newest_);
  return newest_;
}

void StateKeeper::tell_failures(const WrittenLatents& written) {
  if (told_ == written.file) return;
  told_ = written.file;
  const MessagePart instead{written.file.empty()
                                ? "is kept nowhere until there is room; free some, or start with `keep_dir`"
                                : format_message("is kept in {} instead", written.file.string())};
  tell_quietly(run_,
               format_message("{}; the run goes on, its state {}", MessagePart{written.failures}, instead));
}

void StateKeeper::keep_and_rethrow(const Reached& reached, const Error& error) {
  if (!newest_.empty()) remove(std::exchange(earlier_, {}), newest_);  // the last state may need the room
  const fs::path kept = keep_latents(run_, reached, file_);
  if (kept.empty() && newest_.empty())
    throw Error(error.code(), format_message("{}; nothing could be kept", error.what()), error.field());
  if (kept.empty())
    throw Error(error.code(),
                format_message("{}; an earlier state of the run is kept in {}: {}", error.what(),
                               newest_.string(), go_on_with(newest_)),
                error.field());
  replace_with(kept);
  const std::string where =
      reached.segments > 1 ? fmt::format(" of segment {} of {}", reached.segment + 1, reached.segments) : "";
  throw Error(error.code(),
              format_message("{}; {} of {} steps{} are kept in {}: {}", error.what(), reached.state.next_step,
                             run_.settings.steps, where, kept.string(), go_on_with(kept)),
              error.field());
}

void StateKeeper::replace_with(const fs::path& kept) {
  if (kept.empty()) return;
  remove(std::exchange(earlier_, {}), kept);
  remove(std::exchange(newest_, kept), kept);
}

void StateKeeper::finish(const fs::path& kept) {
  remove(std::exchange(earlier_, {}), kept);
  remove(std::exchange(newest_, {}), kept);
}

/// What a person asked for stays.
void StateKeeper::remove(const fs::path& state, const fs::path& kept) const {
  if (state.empty() || is_same(state, kept) || (file_.requested && is_same(state, file_.path))) return;
  std::error_code error;
  if (!fs::remove(state, error) && error)
    log(LogLevel::kWarning, fmt::format("could not remove {}: {}", state.string(), error.message()));
}

}  // namespace wan
