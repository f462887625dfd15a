#include "parallel/communicator.h"

#include "tensor/row_copy.h"

namespace wan {

namespace {

class DoneExchange final : public PendingExchange {
 public:
  void finish() override {}
};

}  // namespace

std::unique_ptr<PendingExchange> Communicator::begin_all_to_all(std::span<const TensorView> send,
                                                                std::span<const TensorView> recv) {
  all_to_all(send, recv);
  return std::make_unique<DoneExchange>();
}

void check_collective_views(std::span<const TensorView> views, int size, const char* where) {
  WAN_CHECK(static_cast<int>(views.size()) == size, kInternal, "[{}] expected {} views, one a rank, got {}",
            where, size, views.size());
}

void copy_on_host(const TensorView& from, const TensorView& to, const char* where) {
  const RowCopy copy = row_copy(from, to);
  if (copy.rows == 0) return;
  for (const TensorView* view : {&from, &to})
    WAN_CHECK(view->device().kind == DeviceKind::kCpu, kUnsupported,
              "[{}] these ranks exchange through the host's memory, and a view is on {}", where,
              to_string(view->device()));
  copy_rows(copy);
}

void SelfCommunicator::all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) {
  check_collective_views(send, 1, "all_to_all");
  check_collective_views(recv, 1, "all_to_all");
  copy_on_host(send[0], recv[0], "all_to_all");
}

void SelfCommunicator::all_gather(const TensorView& send, std::span<const TensorView> recv) {
  all_to_all(std::span(&send, 1), recv);
}

void SelfCommunicator::broadcast(const TensorView&, int root) {
  WAN_CHECK(root == 0, kInternal, "[broadcast] root {} is not in a group of one", root);
}

}  // namespace wan
