#include "parallel/communicator.h"

#include <cstring>

namespace wan {

void check_collective_views(std::span<const TensorView> views, int size, const char* where) {
  WAN_CHECK(static_cast<int>(views.size()) == size, kInternal, "[{}] expected {} views, one a rank, got {}",
            where, size, views.size());
  for (const TensorView& view : views)
    WAN_CHECK(view.empty() || view.is_contiguous(), kInternal, "[{}] views must be contiguous", where);
}

void SelfCommunicator::all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) {
  check_collective_views(send, 1, "all_to_all");
  check_collective_views(recv, 1, "all_to_all");
  WAN_CHECK(send[0].bytes() == recv[0].bytes(), kInternal, "[all_to_all] {} bytes sent, {} expected",
            send[0].bytes(), recv[0].bytes());
  if (send[0].data() != recv[0].data()) std::memcpy(recv[0].data(), send[0].data(), send[0].bytes());
}

void SelfCommunicator::all_gather(const TensorView& send, std::span<const TensorView> recv) {
  all_to_all(std::span(&send, 1), recv);
}

void SelfCommunicator::broadcast(const TensorView&, int root) {
  WAN_CHECK(root == 0, kInternal, "[broadcast] root {} is not in a group of one", root);
}

}  // namespace wan
