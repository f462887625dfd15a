#include "backends/cuda/backend_impl.h"

#include <algorithm>
#include <memory>

#include "backends/cuda/copy_queue.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/random.h"
#include "backends/cuda/nccl_group.h"
#include "backends/cuda/nccl_library.h"
#include "base/error.h"

namespace wan::cuda {

namespace {

void check_destination(const TensorView& device, Device expected) {
  WAN_CHECK(device.is_contiguous() && device.device() == expected, kInternal,
            "[cuda] expected a contiguous view on {}, got {} on {}", to_string(expected),
            device.shape().to_string(), to_string(device.device()));
}

void check_transfer(const TensorView& host, const TensorView& device, Device expected) {
  WAN_CHECK(host.dtype() == device.dtype() && host.elements() == device.elements() && host.is_contiguous() &&
                device.is_contiguous(),
            kInternal, "[cuda] expected contiguous views of one dtype and size, got {} {} and {} {}",
            dtype_name(host.dtype()), host.shape().to_string(), dtype_name(device.dtype()),
            device.shape().to_string());
  WAN_CHECK(host.device().kind == DeviceKind::kCpu && device.device() == expected, kInternal,
            "[cuda] expected views on cpu and {}, got {} and {}", to_string(expected),
            to_string(host.device()), to_string(device.device()));
}

void check_on(const TensorView& view, Device expected) {
  WAN_CHECK(view.empty() || view.device() == expected, kInternal,
            "[cuda] expected a view on {}, got one on {}", to_string(expected), to_string(view.device()));
}

/// Where no event can be had: the end of all work.
class LastMark final : public WorkMark {
 public:
  explicit LastMark(CudaBackend& backend) : backend_(backend) {}
  void wait() const override { backend_.synchronize(); }

 private:
  CudaBackend& backend_;
};

}  // namespace

CudaBackend::CudaBackend(const CudaBackendOptions& options)
    : current_(std::in_place, options.device),
      options_(options),
      info_(cuda_device_info(options.device)),
      allocator_(options.device, stream_),
      pinned_(options.device),
      products_(options.tune ? &tuner_ : nullptr),
      convolutions_(options.tf32_convolutions, options.tune ? &tuner_ : nullptr),
      counter_(allocator_, sizeof(unsigned long long)),
      counted_(sizeof(unsigned long long)) {
  current_.reset();
}

CudaBackend::~CudaBackend() {
  // Nothing of this may be destroyed under a kernel that runs.
  current_.emplace(options_.device, std::nothrow);
  cudaStreamSynchronize(stream_);
}

void CudaBackend::synchronize() {
  const CurrentDevice here(options_.device);
  WAN_CUDA(cudaStreamSynchronize(stream_));
}

void CudaBackend::upload(const TensorView& host, const TensorView& device) {
  check_transfer(host, device, this->device());
  upload_from(upload_source(host), device);
}

void CudaBackend::upload_from(const UploadSource& source, const TensorView& device) {
  check_destination(device, this->device());
  const CurrentDevice here(options_.device);
  staging_.upload(source, device.data(), device.bytes(), stream_);
}

void CudaBackend::download(const TensorView& device, const TensorView& host) {
  check_transfer(host, device, this->device());
  const CurrentDevice here(options_.device);
  staging_.download(device.data(), host.data(), host.bytes(), stream_);
}

void CudaBackend::upload_beside(const UploadSource& source, const TensorView& device) {
  check_destination(device, this->device());
  const CurrentDevice here(options_.device);
  copies_staging_.upload(source, device.data(), device.bytes(), copies_);
  wait_for_copies();
}

void CudaBackend::wait_for_copies() {
  Event copied;
  copied.record(copies_);
  copied.synchronize();
}

std::shared_ptr<const WorkMark> CudaBackend::mark_work() noexcept {
  try {
    const CurrentDevice here(options_.device);
    return std::make_shared<const EventMark>(options_.device, stream_);
  } catch (const Error&) {
    return std::make_shared<const LastMark>(*this);  // throws what failed to whoever waits
  }
}

void CudaBackend::wait_for(const WorkMark& mark) {
  const auto* const event = dynamic_cast<const EventMark*>(&mark);
  if (event == nullptr) return mark.wait();
  const CurrentDevice here(options_.device);
  waits_.wait(stream_, event->event());
}

double CudaBackend::waited_seconds() {
  const CurrentDevice here(options_.device);
  return waits_.seconds();
}

void CudaBackend::share_memory_with(const ComputeDevice& reader) {
  if (reader.device() == device()) return;
  allocator_.share_with(reader.device().index);
}

void CudaBackend::copy_from(const TensorView& from, const TensorView& to) {
  check_on(to, device());
  enqueue_copy(options_.device, from, to, stream_);
}

void CudaBackend::copy_out(const TensorView& from, const TensorView& to) {
  check_on(from, device());
  enqueue_copy(options_.device, from, to, stream_);
}

void CudaBackend::copy_beside(const TensorView& from, const TensorView& to) {
  check_on(to, device());
  const CurrentDevice here(options_.device);
  enqueue_copy(options_.device, from, to, copies_);
  wait_for_copies();
}

std::unique_ptr<CopyQueue> CudaBackend::make_copy_queue() {
  const CurrentDevice here(options_.device);
  return std::make_unique<StreamCopies>(options_.device);
}

bool CudaBackend::draw_cuda_normals(const CudaNormalsArgs& args) {
  check_destination(args.out, device());
  WAN_CHECK(args.out.dtype() == DType::kF32, kInternal, "[random] expected f32, got {}",
            dtype_name(args.out.dtype()));
  WAN_CHECK(args.out.elements() <= 0x7fffffff, kInvalidArgument,
            "[random] expected at most {} values a draw, got {}; ask for fewer frames or a smaller size",
            0x7fffffff, args.out.elements());
  const CurrentDevice here(options_.device);
  launch_normal(stream_, args);
  return true;
}

DeviceGroupSupport CudaBackend::group_support() const {
  const Nccl& library = nccl();
  if (!library.reason.empty()) return {.reason = library.reason};
  cudaDeviceProp properties{};
  WAN_CUDA(cudaGetDeviceProperties(&properties, options_.device));
  const char* const uuid = properties.uuid.bytes;
  return {.library = "NCCL " + nccl_version_text(library.version),
          .device = std::string(uuid, sizeof properties.uuid.bytes)};
}

DeviceGroupId CudaBackend::make_group_id() {
  return make_nccl_id();
}

std::unique_ptr<DeviceGroup> CudaBackend::join_group(const DeviceGroupId& id, int rank, int size) {
  return std::make_unique<NcclGroup>(options_.device, stream_, id, rank, size);
}

std::int64_t CudaBackend::free_bytes() const {
  const CurrentDevice here(options_.device);
  std::size_t free = 0;
  std::size_t total = 0;
  WAN_CUDA(cudaMemGetInfo(&free, &total));
  return static_cast<std::int64_t>(free + allocator_.kept());
}

// cuBLASLt, cuDNN and the driver load their kernels when these are first used, 0.2 GB of an H200's, and a convolution for which no plan
// makes do with kConvolutionWorkspaceBytes takes more. What they have taken by now is no longer free.
std::int64_t CudaBackend::reserved_bytes() const {
  constexpr std::int64_t kLibraries = std::int64_t{1} << 30;
  const std::int64_t taken = info_.free_bytes - (free_bytes() + memory_use().now);
  return std::clamp(kLibraries - taken, std::int64_t{0}, kLibraries);
}

bool CudaBackend::uses_hopper_attention() const {
  return options_.hopper_attention && info_.compute_major == 9 && has_hopper_attention();
}

void CudaBackend::convert(const TensorView& from, const TensorView& to) {
  if (!from.empty() && from.data() != to.data()) launch_copy(stream_, {from, to});
}

std::int64_t CudaBackend::count_non_finite(const TensorView& x) {
  auto* const counter = reinterpret_cast<unsigned long long*>(counter_.data());
  auto* const counted = reinterpret_cast<unsigned long long*>(counted_.data());
  WAN_CUDA(cudaMemsetAsync(counter, 0, sizeof *counter, stream_));
  launch_count_non_finite(stream_, x, counter);
  WAN_CUDA(cudaMemcpyAsync(counted, counter, sizeof *counter, cudaMemcpyDeviceToHost, stream_));
  WAN_CUDA(cudaStreamSynchronize(stream_));
  return static_cast<std::int64_t>(*counted);
}

Backend::MemoryUse CudaBackend::memory_use() const {
  return {static_cast<std::int64_t>(allocator_.used()), static_cast<std::int64_t>(allocator_.peak())};
}

}  // namespace wan::cuda
