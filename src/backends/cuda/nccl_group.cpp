#include "backends/cuda/nccl_group.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "backends/cuda/copy_queue.h"
#include "backends/cuda/nccl_library.h"
#include "base/error.h"

namespace wan::cuda {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kFarewell = std::chrono::seconds(10);   // for peers to say that they have what they were sent
constexpr auto kShort = std::chrono::milliseconds(1);  // in which most calls are through
constexpr auto kRest = std::chrono::microseconds(200);

/// Between two looks at a call that began at `start`.
void rest(Clock::time_point start) {
  if (Clock::now() - start < kShort)
    std::this_thread::yield();
  else
    std::this_thread::sleep_for(kRest);
}

const Nccl& usable_nccl() {
  WAN_CHECK(nccl().reason.empty(), kUnsupported, "{}", MessagePart{nccl().reason});
  return nccl();
}

}  // namespace

DeviceGroupId make_nccl_id() {
  NcclId id{};
  const int result = usable_nccl().get_unique_id(&id);
  WAN_CHECK(result == kNcclSuccess, kDevice, "ncclGetUniqueId failed: {}", nccl().error_text(result));
  DeviceGroupId bytes(sizeof id);
  std::memcpy(bytes.data(), &id, sizeof id);
  return bytes;
}

NcclGroup::NcclGroup(int device, cudaStream_t work, const DeviceGroupId& id, int rank, int size)
    : device_(device), work_(work) {
  NcclId given{};
  WAN_CHECK(id.size() == sizeof given, kInternal, "[nccl] an id of {} bytes", id.size());
  std::memcpy(&given, id.data(), sizeof given);
  NcclConfig config;
  const CurrentDevice here(device_);
  stream_.emplace();
  check(usable_nccl().init_rank(&comm_, size, given, rank, &config), "ncclCommInitRankConfig");
}

NcclGroup::~NcclGroup() {
  begin_end();
  const CurrentDevice here(device_, std::nothrow);
  const auto start = Clock::now();
  try {
    while (comm_ != nullptr && state() == kNcclInProgress) {
      if (Clock::now() - start > kFarewell) abort();
      rest(start);
    }
  } catch (const Error&) {  // it is at its end all the same
    abort();
  }
  if (comm_ != nullptr) nccl().destroy(comm_);
  cudaStreamSynchronize(*stream_);
  stream_.reset();
}

void NcclGroup::check(int result, const char* call) const {
  if (result == kNcclSuccess || result == kNcclInProgress) return;
  fail(
      ErrorCode::kDevice,
      "{} failed on cuda:{}: {}; NCCL_DEBUG=WARN in the environment makes NCCL say more, and `p2p` off sends "
      "through the hosts' memory instead",
      call, device_, nccl().error_text(result));
}

int NcclGroup::state() {
  const std::lock_guard lock(mutex_);
  WAN_CHECK(comm_ != nullptr, kDevice, "the exchange between GPUs was ended");
  int result = kNcclSuccess;
  check(nccl().async_error(comm_, &result), "ncclCommGetAsyncError");
  check(result, "an exchange by NCCL");
  return result;
}

bool NcclGroup::is_ready() {
  const CurrentDevice here(device_);
  return state() == kNcclSuccess;
}

std::shared_ptr<const WorkMark> NcclGroup::exchange(std::span<const Transfer> send,
                                                    std::span<const Transfer> receive,
                                                    const std::function<void()>& wait) {
  const CurrentDevice here(device_);
  const Nccl& library = nccl();
  const cudaStream_t stream = *stream_;
  const EventMark ready(device_, work_);
  WAN_CUDA(cudaStreamWaitEvent(stream, ready.event()));
  times_.during(stream, [&] {
    {
      const std::lock_guard lock(mutex_);
      WAN_CHECK(comm_ != nullptr, kDevice, "the exchange between GPUs was ended");
      check(library.group_start(), "ncclGroupStart");
      int result = kNcclSuccess;
      const char* call = "ncclSend";
      for (const Transfer& to : send) {
        if (result != kNcclSuccess && result != kNcclInProgress) break;
        result = library.send(to.view.data(), to.view.bytes(), kNcclBytes, to.peer, comm_, stream);
      }
      for (const Transfer& from : receive) {
        if (result != kNcclSuccess && result != kNcclInProgress) break;
        call = "ncclRecv";
        result = library.receive(from.view.data(), from.view.bytes(), kNcclBytes, from.peer, comm_, stream);
      }
      const int ended = library.group_end();  // in any case: groups may be nested
      check(result, call);
      check(ended, "ncclGroupEnd");
    }
    for (const auto start = Clock::now(); state() == kNcclInProgress; rest(start)) wait();
  });
  return std::make_shared<const EventMark>(device_, stream);
}

std::optional<std::uint64_t> NcclGroup::under_way() {
  const CurrentDevice here(device_);
  return times_.under_way();
}

void NcclGroup::abort() noexcept {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  const CurrentDevice here(device_, std::nothrow);
  nccl().abort(std::exchange(comm_, nullptr));
}

bool NcclGroup::is_aborted() const {
  const std::lock_guard lock(mutex_);
  return comm_ == nullptr;
}

void NcclGroup::begin_end() noexcept {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr || std::exchange(ending_, true)) return;
  const CurrentDevice here(device_, std::nothrow);
  nccl().finalize(comm_);
}

}  // namespace wan::cuda
