#include "engine/process_link.h"

#include <algorithm>
#include <numeric>

#include "engine/layout_choice.h"
#include "kept/recovery.h"
#include "parallel/mpi/process_communicator.h"

namespace wan {

namespace {

/// work() in a phase, or its failure, as a letter.
Letter outcome_of(std::uint64_t phase, const std::function<Letter()>& work) {
  LetterWriter letter;
  try {
    const Letter result = work();
    letter.put(phase);
    letter.put(true);
    letter.put(std::string_view(reinterpret_cast<const char*>(result.data()), result.size()));
  } catch (...) {
    letter = {};
    letter.put(phase);
    letter.put(false);
    letter.put(current_failure());
  }
  return letter.take();
}

/// What outcome_of() was given, or throws what it threw.
Letter result_of(Letter outcome, const std::string& sender) {
  LetterReader letter(std::move(outcome));
  letter.get<std::uint64_t>();
  if (letter.get<bool>()) {
    const std::string text = letter.text();
    const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
  }
  const Error error = letter.error();
  if (sender.empty() || error.code() == ErrorCode::kCancelled) throw Error(error);
  throw Error(error.code(), format_message("{}: ", sender) + error.what(), error.field());
}

/// Connections of all engines of a process.
std::uint32_t& last_connection() {
  static std::uint32_t number = 0;
  return number;
}

}  // namespace

ProcessLink::~ProcessLink() {
  if (!is_first()) return;
  try {
    command(Command::kDrop);
  } catch (const Error&) {  // they are gone
  }
}

Letter ProcessLink::hear(int process) const {
  while (true) {
    Letter letter = processes_.receive(process, {.from = process, .to = processes_.rank()});
    if (LetterReader(letter).get<std::uint64_t>() == phase_)
      return letter;  // others are of phases that had failed here
  }
}

void ProcessLink::tell(int process, Letter letter) const {
  processes_.send(process, {.from = processes_.rank(), .to = process}, std::move(letter));
}

void ProcessLink::command(Command command, const std::function<void(LetterWriter&)>& put) {
  LetterWriter letter;
  letter.put(static_cast<int>(command));
  letter.put(engine_);
  if (put) put(letter);
  const Letter written = letter.take();
  for (int process = 1; process < processes_.size(); ++process) tell(process, written);
}

Letter ProcessLink::together(const std::function<Letter()>& work,
                             const std::function<Letter(std::vector<Letter>)>& judge) {
  ++phase_;
  Letter outcome = outcome_of(phase_, work);
  if (!is_first()) {
    tell(0, std::move(outcome));
    return result_of(hear(0), "");
  }
  const Letter verdict = outcome_of(phase_, [&] {
    // A failure here is told at once: the others may be gone, and so may this process be soon.
    std::vector<Letter> results{result_of(std::move(outcome), "")};
    std::vector<Letter> outcomes;
    for (int process = 1; process < processes_.size(); ++process) outcomes.push_back(hear(process));
    for (int process = 1; process < processes_.size(); ++process)
      results.push_back(
          result_of(std::move(outcomes[static_cast<std::size_t>(process) - 1]), processes_.name(process)));
    return judge(std::move(results));
  });
  for (int process = 1; process < processes_.size(); ++process) tell(process, verdict);
  return result_of(verdict, "");
}

int ProcessLink::ranks() const {
  return std::accumulate(ranks_.begin(), ranks_.end(), 0);
}

int ProcessLink::first_rank() const {
  return std::accumulate(ranks_.begin(), ranks_.begin() + processes_.rank(), 0);
}

std::vector<int> ProcessLink::machine_of_ranks() const {
  std::vector<int> machines;
  for (int process = 0; process < processes_.size(); ++process)
    machines.insert(machines.end(), static_cast<std::size_t>(ranks_[static_cast<std::size_t>(process)]),
                    processes_.machine(process));
  return machines;
}

void ProcessLink::open_connection() {
  connection_ = ++last_connection();
  processes_.open_connection(connection_);
}

RankConnection ProcessLink::connect(int rank, ComputeDevice& device, const RankLayout& layout,
                                    std::chrono::milliseconds timeout) const {
  RankGroup all{.connection = connection_, .number = 0, .processes = {}};
  for (int process = 0; process < processes_.size(); ++process)
    all.processes.insert(all.processes.end(),
                         static_cast<std::size_t>(ranks_[static_cast<std::size_t>(process)]), process);
  ComputeDevice* const memory = device.device().kind == DeviceKind::kCpu ? nullptr : &device;
  const int own = first_rank() + rank;
  RankConnection ways{.layout = layout,
                      .all = make_process_communicator(processes_, all, own, memory, timeout)};
  const int number = layout.group_of(own);
  if (layout.machines > 1) {
    // Groups' numbers: 0, one a half, then one a rank that is the first of its machine's, or of those at its place.
    const int first = layout.first_of(number);
    ways.machine_ranks = machine_ranks(layout, number, machine_of_ranks());
    const auto part = [&](const std::vector<int>& members, int base) {
      RankGroup some{.connection = connection_,
                     .number = static_cast<std::uint32_t>(base + first + members.front()),
                     .processes = {}};
      for (const int member : members)
        some.processes.push_back(all.processes[static_cast<std::size_t>(first + member)]);
      const auto self = std::ranges::find(members, own - first) - members.begin();
      return make_process_communicator(processes_, some, static_cast<int>(self), memory, timeout);
    };
    const int base = 1 + layout.groups;
    for (const std::vector<int>& members : ways.machine_ranks) {
      const auto found = std::ranges::find(members, own - first);
      if (found == members.end()) continue;
      ways.within = part(members, base);
      std::vector<int> at_place;
      for (const std::vector<int>& others : ways.machine_ranks)
        at_place.push_back(others[static_cast<std::size_t>(found - members.begin())]);
      ways.across = part(at_place, base + layout.ranks());
    }
  }
  if (layout.groups == 1) return ways;
  const auto first = all.processes.begin() + layout.first_of(number);
  const RankGroup group{.connection = connection_,
                        .number = 1 + static_cast<std::uint32_t>(number),
                        .processes = {first, first + layout.sequence}};
  ways.group = make_process_communicator(processes_, group, own - layout.first_of(number), memory, timeout);
  return ways;
}

}  // namespace wan
