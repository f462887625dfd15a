#include "engine/process_link.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include "engine/layout_choice.h"
#include "kept/recovery.h"
#include "parallel/mpi/process_communicator.h"

namespace wan {

namespace {

constexpr auto kLook = std::chrono::milliseconds(2);  // between two at what connects

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

void ProcessLink::end() noexcept {
  if (!is_first() || std::exchange(ended_, true)) return;
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

std::vector<ProcessLink::Members> ProcessLink::groups_of(const RankLayout& layout) const {
  std::vector<Members> groups;
  const auto add = [&](Part part, std::vector<int> ranks) {
    groups.push_back(
        {.part = part, .number = static_cast<std::uint32_t>(groups.size()), .ranks = std::move(ranks)});
  };
  const auto consecutive = [](int first, int size) {
    std::vector<int> ranks(static_cast<std::size_t>(size));
    std::iota(ranks.begin(), ranks.end(), first);
    return ranks;
  };
  add(Part::kAll, consecutive(0, layout.ranks()));
  for (int group = 0; layout.groups > 1 && group < layout.groups; ++group)
    add(Part::kHalf, consecutive(layout.first_of(group), layout.sequence));
  for (int group = 0; layout.machines > 1 && group < layout.groups; ++group) {
    std::vector<std::vector<int>> machines = machine_ranks(layout, group, machine_of_ranks());
    for (std::vector<int>& ranks : machines) {
      for (int& rank : ranks) rank += layout.first_of(group);
      add(Part::kWithinMachine, ranks);
    }
    for (std::size_t place = 0; place < machines.front().size(); ++place) {
      std::vector<int> ranks;
      for (const std::vector<int>& machine : machines) ranks.push_back(machine[place]);
      add(Part::kAcrossMachines, std::move(ranks));
    }
  }
  return groups;
}

std::optional<int> ProcessLink::Members::place_of(int rank) const {
  const auto found = std::ranges::find(ranks, rank);
  if (found == ranks.end()) return std::nullopt;
  return static_cast<int>(found - ranks.begin());
}

std::vector<int> ProcessLink::processes_of(const Members& members) const {
  std::vector<int> all;
  for (int process = 0; process < processes_.size(); ++process)
    all.insert(all.end(), static_cast<std::size_t>(ranks_[static_cast<std::size_t>(process)]), process);
  std::vector<int> theirs;
  for (const int rank : members.ranks) theirs.push_back(all[static_cast<std::size_t>(rank)]);
  return theirs;
}

bool ProcessLink::has_live(std::span<const Members> wanted) const {
  const int own = first_rank();
  for (const Members& members : wanted)
    for (int rank = own; rank < own + ranks_[static_cast<std::size_t>(processes_.rank())]; ++rank) {
      if (!members.place_of(rank)) continue;
      const auto joined = joined_.find({members, rank});
      if (joined == joined_.end() || joined->second->is_aborted()) return false;
    }
  return true;
}

void ProcessLink::join(std::span<ComputeDevice* const> devices, std::span<const Members> wanted,
                       LetterReader ids, std::chrono::milliseconds timeout) {
  drop_device_groups();
  const auto start = std::chrono::steady_clock::now();
  for (const Members& members : wanted) {
    const std::string text = ids.text();
    const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
    const DeviceGroupId id(begin, begin + text.size());
    std::vector<DeviceGroup*> joining;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const int rank = first_rank() + static_cast<int>(i);
      const std::optional<int> place = members.place_of(rank);
      if (!place) continue;
      std::shared_ptr<DeviceGroup> joined =
          devices[i]->join_group(id, *place, static_cast<int>(members.ranks.size()));
      joining.push_back(joined.get());
      joined_[{members, rank}] = std::move(joined);
    }
    // One group after the other: each takes memory of the device.
    while (!std::ranges::all_of(joining, [](DeviceGroup* group) { return group->is_ready(); })) {
      processes_.check(connection_);
      WAN_CHECK_FIELD(std::chrono::steady_clock::now() - start < timeout, kDevice, "rank_timeout",
                      "the GPUs of {} processes were not connected within {:.3g} s; NCCL_DEBUG=INFO in the "
                      "environment shows how far NCCL has come, NCCL_SOCKET_IFNAME names the network that it "
                      "uses, and `p2p` off sends through the hosts' memory instead",
                      processes_.size(), std::chrono::duration<double>(timeout).count());
      std::this_thread::sleep_for(kLook);
    }
  }
}

void ProcessLink::open_connection(std::span<ComputeDevice* const> devices, const RankLayout& layout,
                                  std::chrono::milliseconds timeout) {
  connection_ = ++last_connection();
  processes_.open_connection(connection_);
  if (!device_groups_) return;
  std::vector<Members> wanted = groups_of(layout);
  std::erase_if(wanted, [](const Members& members) { return members.ranks.size() == 1; });
  const Letter ids = together(
      [&] {
        LetterWriter mine;
        mine.put(has_live(wanted));
        return mine.take();
      },
      [&](std::vector<Letter> letters) {
        bool all_live = true;
        for (Letter& letter : letters) all_live = LetterReader(std::move(letter)).get<bool>() && all_live;
        LetterWriter made;
        made.put(all_live);
        for (std::size_t i = 0; !all_live && i < wanted.size(); ++i) {
          const DeviceGroupId id = devices.front()->make_group_id();
          made.put(std::string_view(reinterpret_cast<const char*>(id.data()), id.size()));
        }
        return made.take();
      });
  LetterReader letter(ids);
  if (letter.get<bool>()) return;
  together([&] {
    try {
      join(devices, wanted, std::move(letter), timeout);
    } catch (const Error& error) {
      end_connection(error);                                      // the others wait for this one
      for (const auto& [place, group] : joined_) group->abort();  // or they would be taken for ones that work
      throw;
    }
    return Letter();
  });
}

void ProcessLink::drop_device_groups() noexcept {
  for (const auto& [place, group] : joined_) group->begin_end();
  joined_.clear();
}

std::unique_ptr<Communicator> ProcessLink::make_communicator(const Members& members, int rank,
                                                             ComputeDevice* device,
                                                             std::chrono::milliseconds timeout) const {
  const auto joined = joined_.find({members, rank});
  return make_process_communicator(
      processes_, {.connection = connection_, .number = members.number, .processes = processes_of(members)},
      *members.place_of(rank),
      {.device = device, .devices = joined != joined_.end() ? joined->second : nullptr}, timeout);
}

RankConnection ProcessLink::connect(int rank, ComputeDevice& device, const RankLayout& layout,
                                    std::chrono::milliseconds timeout) const {
  ComputeDevice* const memory = device.device().kind == DeviceKind::kCpu ? nullptr : &device;
  const int own = first_rank() + rank;
  RankConnection ways{.layout = layout};
  if (layout.machines > 1)
    ways.machine_ranks = machine_ranks(layout, layout.group_of(own), machine_of_ranks());
  for (const Members& members : groups_of(layout)) {
    if (!members.place_of(own)) continue;
    auto communicator = make_communicator(members, own, memory, timeout);
    switch (members.part) {
      case Part::kAll:
        ways.all = std::move(communicator);
        break;
      case Part::kHalf:
        ways.group = std::move(communicator);
        break;
      case Part::kWithinMachine:
        ways.within = std::move(communicator);
        break;
      case Part::kAcrossMachines:
        ways.across = std::move(communicator);
        break;
    }
  }
  return ways;
}

}  // namespace wan
