#include "engine/process_share.h"

#include <csignal>
#include <map>

#include "base/log.h"
#include "wan/processes.h"
#include "wan/version.h"

namespace wan {

namespace {

constexpr auto kFirstSpeaks = std::chrono::seconds(2);

/// Of this process, once it has joined; MPI can be started once.
std::unique_ptr<ProcessGroup>& joined() {
  static std::unique_ptr<ProcessGroup> group;
  return group;
}

/// What the first process asks for, as far as it lets this one make it. What fails is told to it by the phase that it failed in.
void follow(ProcessGroup& processes, std::map<int, std::unique_ptr<EngineShare>>& shares,
            LetterReader letter) {
  const auto command = static_cast<ProcessLink::Command>(letter.get<int>());
  const int engine = letter.get<int>();
  try {
    if (command == ProcessLink::Command::kMake)
      shares[engine] = std::make_unique<EngineShare>(get_options(letter),
                                                     std::make_unique<ProcessLink>(processes, engine));
    if (command == ProcessLink::Command::kGenerate) shares.at(engine)->generate(get_request(letter));
    if (command == ProcessLink::Command::kDrop) shares.erase(engine);
  } catch (const Error& error) {
    log(LogLevel::kDebug, error.what());
  }
}

/// Until the first process ends. Returns its exit status.
int serve(ProcessGroup& processes) {
  // A launcher that ends its processes signals to all of them: the first one says when.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  std::map<int, std::unique_ptr<EngineShare>> shares;
  while (true) {
    Letter letter;
    try {
      letter = processes.receive(0, {.from = 0, .to = processes.rank()});
    } catch (const Error& error) {
      if (const auto status = processes.ended(0)) return *status;
      log(LogLevel::kError, error.what());
      return exit_status(error.code());
    }
    follow(processes, shares, LetterReader(std::move(letter)));
  }
}

}  // namespace

std::unique_ptr<ProcessLink> begin_share(const EngineOptions& options) {
  ProcessGroup* const processes = joined().get();
  if (processes == nullptr || processes->rank() != 0) return nullptr;
  static int engines = 0;
  auto link = std::make_unique<ProcessLink>(*processes, ++engines);
  link->command(ProcessLink::Command::kMake, [&](LetterWriter& letter) { put_options(letter, options); });
  return link;
}

std::optional<int> join_processes() {
  const Launch launch = find_launch();
  if (launch.size == 1) return std::nullopt;
  try {
    WAN_CHECK(
        launch.connects, kUnsupported,
        "srun started {} processes without MPI: its option mpi names the way to connect them, such as pmix",
        launch.size);
    joined() =
        std::make_unique<ProcessGroup>(launch, std::string("wan.cpp ") + version(), ProcessGroup::Times());
  } catch (const Error&) {
    // What is wrong in all of them the first one says, and its launcher ends the others.
    if (launch.rank != 0) std::this_thread::sleep_for(kFirstSpeaks);
    throw;
  }
  ProcessGroup& processes = *joined();
  if (processes.rank() == 0) return std::nullopt;
  const int status = serve(processes);
  processes.finish(status);
  return status;
}

void leave_processes(int status) noexcept {
  if (joined()) joined()->finish(status);
}

}  // namespace wan
