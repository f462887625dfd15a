// libnccl.so.2 for tests: the functions that the backend uses, over sockets between the processes of one machine. What a peer does not
// send is waited for until the communicator is aborted, as on GPUs.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidUsage = 5;
constexpr int kInProgress = 7;

struct Id {
  char bytes[128];
};

struct Part {
  char* data;
  std::size_t left;
};

struct Communicator {
  std::string folder;
  int rank;
  int size;
  std::vector<int> sockets;             // by peer
  std::vector<std::deque<Part>> sends;  // likewise, of the exchange under way
  std::vector<std::deque<Part>> receives;
  std::atomic<int> state{kInProgress};
  std::atomic<bool> aborted{false};
  std::thread thread;
};

std::atomic<bool> drop_next{false};

// One thread makes a group's calls.
thread_local int depth = 0;
thread_local std::vector<Communicator*> in_group;

sockaddr_un address_of(const Communicator& comm, int rank) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = comm.folder + "/" + std::to_string(rank);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

template <typename Address>
const sockaddr* plain(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

/// To those before it; those after it connect to this one, and say who they are.
void connect_all(Communicator& comm) {
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const sockaddr_un own = address_of(comm, comm.rank);
  ::bind(listening, plain(own), sizeof own);
  ::listen(listening, comm.size);
  for (int peer = 0; peer < comm.rank; ++peer) {
    const sockaddr_un theirs = address_of(comm, peer);
    int& socket = comm.sockets[static_cast<std::size_t>(peer)];
    socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    while (::connect(socket, plain(theirs), sizeof theirs) != 0 && !comm.aborted) std::this_thread::yield();
    while (::write(socket, &comm.rank, sizeof comm.rank) < 0 && !comm.aborted) std::this_thread::yield();
  }
  for (int missing = comm.size - 1 - comm.rank; missing > 0 && !comm.aborted;) {
    const int socket = ::accept(listening, nullptr, nullptr);
    if (socket < 0) {
      std::this_thread::yield();
      continue;
    }
    int peer = 0;
    if (::read(socket, &peer, sizeof peer) != sizeof peer) std::abort();
    comm.sockets[static_cast<std::size_t>(peer)] = socket;
    --missing;
  }
  ::close(listening);
  ::unlink(own.sun_path);
  for (const int socket : comm.sockets)
    if (socket >= 0) ::fcntl(socket, F_SETFL, O_NONBLOCK);
  comm.state = kSuccess;
}

/// As much as goes at once; whether all of it has gone.
template <typename Transfer>
bool move(std::deque<Part>& parts, const Transfer& transfer) {
  while (!parts.empty()) {
    Part& part = parts.front();
    const ssize_t count = transfer(part);
    if (count <= 0) return false;
    part.data += count;
    part.left -= static_cast<std::size_t>(count);
    if (part.left == 0) parts.pop_front();
  }
  return true;
}

void exchange(Communicator& comm) {
  for (bool done = false; !done && !comm.aborted; std::this_thread::yield()) {
    done = true;
    for (std::size_t peer = 0; peer < comm.sockets.size(); ++peer) {
      const int socket = comm.sockets[peer];
      const auto send = [&](const Part& part) { return ::send(socket, part.data, part.left, MSG_NOSIGNAL); };
      const auto receive = [&](const Part& part) { return ::recv(socket, part.data, part.left, 0); };
      const bool sent = move(comm.sends[peer], send);
      const bool received = move(comm.receives[peer], receive);
      done = done && sent && received;
    }
  }
  for (auto* const parts : {&comm.sends, &comm.receives})
    for (std::deque<Part>& of_peer : *parts) of_peer.clear();
  comm.state = kSuccess;
}

void end(Communicator* comm) {
  if (comm->thread.joinable()) comm->thread.join();
  for (const int socket : comm->sockets)
    if (socket >= 0) ::close(socket);
  if (comm->rank == 0) ::rmdir(comm->folder.c_str());
  delete comm;
}

int add(std::vector<std::deque<Part>> Communicator::*parts, const void* data, std::size_t count, int peer,
        void* of) {
  auto* const comm = static_cast<Communicator*>(of);
  if (depth == 0 || comm->state != kSuccess) return kInvalidUsage;
  (comm->*parts)[static_cast<std::size_t>(peer)].push_back(
      {static_cast<char*>(const_cast<void*>(data)), count});
  in_group.push_back(comm);
  return kSuccess;
}

}  // namespace

extern "C" {

/// The next group of this process that sends comes to nothing, as if its device hung.
void fake_nccl_drop_next() {
  drop_next = true;
}

int ncclGetVersion(int* version) {
  *version = 22809;
  return kSuccess;
}

int ncclGetUniqueId(Id* id) {
  *id = {};
  std::strcpy(id->bytes, "/tmp/fake-nccl-XXXXXX");
  return ::mkdtemp(id->bytes) != nullptr ? kSuccess : kInvalidUsage;
}

int ncclCommInitRankConfig(void** made, int size, Id id, int rank, const void*) {
  // As the library does before a kernel can hang on it.
  const char* const multicast = std::getenv("NCCL_NVLS_ENABLE");
  if (multicast == nullptr || std::strcmp(multicast, "0") != 0) return kInvalidUsage;
  auto* const comm = new Communicator{};
  comm->folder = id.bytes;
  comm->rank = rank;
  comm->size = size;
  comm->sockets.assign(static_cast<std::size_t>(size), -1);
  comm->sends.resize(comm->sockets.size());
  comm->receives.resize(comm->sockets.size());
  comm->thread = std::thread([comm] { connect_all(*comm); });
  *made = comm;
  return kInProgress;
}

int ncclCommFinalize(void*) {
  return kSuccess;
}

int ncclCommDestroy(void* comm) {
  end(static_cast<Communicator*>(comm));
  return kSuccess;
}

int ncclCommAbort(void* comm) {
  static_cast<Communicator*>(comm)->aborted = true;
  end(static_cast<Communicator*>(comm));
  return kSuccess;
}

int ncclCommGetAsyncError(void* comm, int* result) {
  *result = static_cast<Communicator*>(comm)->state;
  return kSuccess;
}

int ncclGroupStart() {
  ++depth;
  return kSuccess;
}

int ncclGroupEnd() {
  if (--depth > 0) return kSuccess;
  const bool sends = std::any_of(in_group.begin(), in_group.end(), [](const Communicator* comm) {
    return std::any_of(comm->sends.begin(), comm->sends.end(),
                       [](const auto& parts) { return !parts.empty(); });
  });
  const bool drops = sends && drop_next.exchange(false);
  for (Communicator* const comm : in_group) {
    if (comm->state != kSuccess) continue;  // begun
    if (comm->thread.joinable()) comm->thread.join();
    if (drops) {
      comm->sends.assign(comm->sends.size(), {});
      comm->receives.assign(comm->receives.size(), {});
      continue;
    }
    comm->state = kInProgress;
    comm->thread = std::thread([comm] { exchange(*comm); });
  }
  in_group.clear();
  return kInProgress;
}

int ncclSend(const void* data, std::size_t count, int, int peer, void* comm, void*) {
  return add(&Communicator::sends, data, count, peer, comm);
}

int ncclRecv(void* data, std::size_t count, int, int peer, void* comm, void*) {
  return add(&Communicator::receives, data, count, peer, comm);
}

const char* ncclGetErrorString(int) {
  return "what the test made fail";
}

}  // extern "C"
