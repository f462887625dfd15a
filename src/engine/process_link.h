#pragma once
// ProcessLink: what holds the shares together that several processes have of one engine. The first process decides; all go through the
// same phases, and a phase that fails in one of them fails in all.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "engine/letters.h"
#include "engine/rank_connection.h"
#include "tensor/compute_device.h"

namespace wan {

class ProcessLink {
 public:
  /// Of engine number `engine`.
  ProcessLink(ProcessGroup& processes, int engine) : processes_(processes), engine_(engine) {}
  ~ProcessLink() { end(); }
  ProcessLink(const ProcessLink&) = delete;
  ProcessLink& operator=(const ProcessLink&) = delete;

  const ProcessGroup& processes() const { return processes_; }
  bool is_first() const { return processes_.rank() == 0; }

  /// The first process's: what the others are to do next (see process_share.h). They then go through its phases with it.
  enum class Command : int { kMake, kGenerate, kDrop };
  void command(Command command, const std::function<void(LetterWriter&)>& put = {});

  /// work() in all processes at once; then, in the first one, judge() of what it gave in each of them, by process. Returns that verdict
  /// in all of them. What one of the calls throws is thrown in all, in the first process with the name of the other one that it comes
  /// from.
  Letter together(
      const std::function<Letter()>& work,
      const std::function<Letter(std::vector<Letter>)>& judge = [](auto) { return Letter(); });

  /// How many ranks each process has, and whether their devices exchange in groups of their own (DeviceGroup), not by letters.
  void set_ranks(std::vector<int> ranks, bool device_groups) {
    ranks_ = std::move(ranks);
    device_groups_ = device_groups;
  }
  int ranks() const;
  /// The first of this process's, among all.
  int first_rank() const;
  /// Each rank's machine, a number.
  std::vector<int> machine_of_ranks() const;
  bool has_device_groups() const { return device_groups_; }

  /// A new way between all ranks, of which `devices` are this process's; communicators of an earlier one are of no use any more. Groups of
  /// devices stay as long as nothing fails. A phase. Throws Device where devices cannot be connected within `timeout`.
  void open_connection(std::span<ComputeDevice* const> devices, const RankLayout& layout,
                       std::chrono::milliseconds timeout);
  /// Of one of this process's ranks, in its place among them.
  RankConnection connect(int rank, ComputeDevice& device, const RankLayout& layout,
                         std::chrono::milliseconds timeout) const;
  /// The first process's: the others' shares end too, each at once, for devices that exchange end together.
  void end() noexcept;
  /// Before the devices go.
  void drop_device_groups() noexcept;
  /// Ends the way: every rank's exchanges throw this, with its origin.
  void end_connection(const Error& error) noexcept { processes_.fail_connection(connection_, error); }
  /// While it lives, this process's ranks also stop in the middle of a step: the others end with them.
  class StopsWith {
   public:
    StopsWith(const ProcessLink& link, const std::atomic<bool>* stopped) : processes_(link.processes_) {
      processes_.stop_with(stopped);
    }
    ~StopsWith() { processes_.stop_with(nullptr); }
    StopsWith(const StopsWith&) = delete;
    StopsWith& operator=(const StopsWith&) = delete;

   private:
    ProcessGroup& processes_;
  };

 private:
  Letter hear(int process) const;
  void tell(int process, Letter letter) const;
  enum class Part { kAll, kHalf, kWithinMachine, kAcrossMachines };
  /// Ranks that exchange; number 0 is all of them.
  struct Members {
    Part part = Part::kAll;
    std::uint32_t number = 0;
    std::vector<int> ranks;  // among all, in the order of their places
    std::optional<int> place_of(int rank) const;
    friend bool operator<(const Members& a, const Members& b) {
      return std::tie(a.part, a.number, a.ranks) < std::tie(b.part, b.number, b.ranks);
    }
  };
  std::vector<Members> groups_of(const RankLayout& layout) const;
  std::vector<int> processes_of(const Members& members) const;
  /// Of all groups of `wanted`, this process's parts.
  bool has_live(std::span<const Members> wanted) const;
  void join(std::span<ComputeDevice* const> devices, std::span<const Members> wanted, LetterReader ids,
            std::chrono::milliseconds timeout);
  std::unique_ptr<Communicator> make_communicator(const Members& members, int rank, ComputeDevice* device,
                                                  std::chrono::milliseconds timeout) const;

  ProcessGroup& processes_;
  int engine_;
  std::uint64_t phase_ = 0;
  std::vector<int> ranks_;
  std::uint32_t connection_ = 0;
  bool device_groups_ = false;
  bool ended_ = false;
  std::map<std::pair<Members, int>, std::shared_ptr<DeviceGroup>> joined_;  // by rank among all
};

}  // namespace wan
