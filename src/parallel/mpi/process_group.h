#pragma once
// ProcessGroup: the processes that mpirun or srun started as one program, on one machine or several, and the letters that they send
// each other. One thread speaks to MPI; it also listens whether the others are alive, so that nobody waits for one that is gone.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "parallel/mpi/launch.h"
#include "parallel/mpi/message_library.h"

namespace wan {

using Letter = std::vector<std::byte>;

/// What a letter belongs to. Letters of one route arrive in the order in which they were sent.
struct Route {
  std::uint32_t connection = 0;  // 0: between the processes themselves
  std::uint32_t group = 0;       // of ranks, in a connection
  std::int32_t from = 0;         // members of the group; of connection 0 processes
  std::int32_t to = 0;
  friend bool operator<(const Route& a, const Route& b) {
    return std::tie(a.connection, a.group, a.from, a.to) < std::tie(b.connection, b.group, b.from, b.to);
  }
};

class ProcessGroup {
 public:
  struct Times {
    std::chrono::milliseconds pulse{2000};      // between two signs of life
    std::chrono::milliseconds silence{20000};   // after which a process is taken for lost
    std::chrono::milliseconds farewell{10000};  // that finish() waits for the others
  };

  /// Starts MPI and meets the other processes; waits for all of them. `version` is this program's. Throws Unsupported where MPI
  /// cannot be used or a process runs another version, Device where the launcher's MPI is another one than the program's.
  ProcessGroup(const Launch& launch, const std::string& version, const Times& times);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// "node2", or "node2 (process 3)" where that machine has several, for messages.
  std::string name(int process) const;
  /// The first process on the machine of this name: one for all of its processes.
  int machine(int process) const;
  /// This process among those of its machine.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }

  void send(int process, const Route& route, Letter letter);
  /// The next letter of a route, which a process sends. Throws what the connection has failed with, Device where the sender is gone
  /// or has sent nothing for `timeout` (0: as long as it lives), and, in a connection, Cancelled where stop_with() says so.
  Letter receive(int process, const Route& route, std::chrono::milliseconds timeout = {});

  /// Every pending and later receive() of the connection throws this, in all processes. The first one counts.
  void fail_connection(std::uint32_t connection, const Error& error) noexcept;
  /// A member of a group sends no more.
  void leave(const Route& route, const std::vector<int>& processes) noexcept;
  /// Connections begin with ascending numbers; letters of the earlier ones are dropped.
  void open_connection(std::uint32_t connection);
  /// Throws what the connection has failed with.
  void check(std::uint32_t connection) const;
  /// Ranks of this process that rest, in which time no receive() runs out of patience in any process.
  void change_resting(int by) noexcept;
  bool anyone_rests() const;
  /// receive() in a connection also throws Cancelled while this is set; nullptr: never.
  void stop_with(const std::atomic<bool>* stopped) { stopped_.store(stopped); }

  /// Tells the others that this process ends with an exit status, and waits for them to say so, but not for lost ones. Nothing may be
  /// sent or received afterwards.
  void finish(int status) noexcept;
  /// The status that a process ends with, once it has said so.
  std::optional<int> ended(int process) const;

 private:
  enum class Kind : std::uint32_t { kLetter, kPulse, kFailure, kLeft, kEnd };

  /// Goes before the bytes of a letter as a message of its own.
  struct Header {
    Kind kind = Kind::kPulse;
    std::int32_t number = 0;  // of kEnd: the status; of kPulse: ranks that rest
    Route route = {};
    std::uint64_t bytes = 0;
  };

  struct Parcel {
    int process = 0;
    Header header;
    Letter letter;
    std::vector<int> transfers = {};
  };

  /// A letter that is being received.
  struct Incoming {
    bool open = false;  // more messages of it are to come
    Header header;
    Letter letter;
    std::size_t begun = 0;  // bytes
  };

  /// A part of a letter; one without bytes has no transfer.
  struct Arriving {
    int process = 0;
    bool is_last = false;
    std::optional<int> transfer;
    std::shared_ptr<Incoming> letter;
  };

  using Clock = std::chrono::steady_clock;

  void work();
  bool send_parcels();
  bool receive_messages();
  bool finish_transfers();
  void keep_pulse();
  void enqueue(int process, Header header, Letter letter = {});
  void enqueue_to_others(const Header& header, const Letter& letter = {});
  void deliver(int process, Incoming& letter);
  void lose(const Error& error);
  void meet(const std::string& version);
  bool all_have_ended() const;
  std::optional<Error> failure_of(const Route& route) const;
  bool rests() const;

  Times times_;
  MessageLibrary& library_;
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::vector<std::string> hosts_;     // by process
  std::vector<std::string> machines_;  // likewise: host and start, for machines may have one name

  mutable std::mutex mutex_;
  std::condition_variable changed_;   // for who waits for a letter
  std::condition_variable outgoing_;  // for the thread
  std::deque<Parcel> to_send_;
  std::map<Route, std::deque<Letter>> mail_;
  std::map<std::uint32_t, Error> failures_;  // by connection
  std::map<Route, bool> left_;               // `to` is 0
  std::map<int, int> ended_;                 // status by process
  std::optional<Error> lost_;                // of all connections
  std::uint32_t connection_ = 0;
  std::vector<int> resting_;  // ranks of each process
  bool finishing_ = false;
  bool started_ = false;
  std::exception_ptr start_failure_;
  std::atomic<const std::atomic<bool>*> stopped_{nullptr};

  // The thread's own.
  std::list<Parcel> sending_;  // stay where they are
  std::deque<Arriving> arriving_;
  std::vector<std::shared_ptr<Incoming>> incoming_;  // by process
  std::vector<Clock::time_point> heard_;             // likewise
  Clock::time_point last_pulse_{};
  std::thread thread_;
};

}  // namespace wan
