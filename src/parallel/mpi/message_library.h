#pragma once
// MessageLibrary: what the program uses of MPI. It is in a module that is loaded (libwan_mpi.so), because the program must start where
// MPI is not installed, and a plain start must not load the dozen libraries that come with it.

#include <cstddef>
#include <cstdint>
#include <string>

namespace wan {

/// All calls come from one thread. What fails throws std::runtime_error, which the module and the program have in common.
class MessageLibrary {
 public:
  /// A message is at most so long.
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30;

  struct Place {
    int rank = 0;
    int size = 1;
  };
  struct Arrival {
    bool found = false;
    int from = 0;
    std::size_t bytes = 0;
  };

  virtual ~MessageLibrary() = default;
  /// MPI_Init_thread, which waits for all processes.
  virtual Place start() = 0;
  /// MPI_Finalize, which waits for all processes.
  virtual void finish() = 0;
  /// Begins to send; messages to a process arrive in the order of these calls. The memory stays until is_done() of what this gives
  /// back.
  virtual int send(const std::byte* data, std::size_t bytes, int to) = 0;
  /// The next message of any process, which receive() is to be called for.
  virtual Arrival look() = 0;
  /// Begins to receive the message that look() found; as send().
  virtual int receive(std::byte* into, std::size_t bytes) = 0;
  /// Whether a transfer is over; its number is then given to another one.
  virtual bool is_done(int transfer) = 0;
};

/// Loads the module. Throws Unsupported, saying what to install or build, where it is not there or does not load.
MessageLibrary& load_message_library();

}  // namespace wan
