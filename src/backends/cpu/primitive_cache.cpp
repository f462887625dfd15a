#include "backends/cpu/primitive_cache.h"

#include <omp.h>

#include <algorithm>

namespace wan {

PrimitiveKey::PrimitiveKey(std::initializer_list<std::int64_t> values) {
  WAN_ASSERT(values.size() <= values_.size());
  std::copy(values.begin(), values.end(), values_.begin());
}

std::size_t PrimitiveKey::hash() const {
  std::uint64_t state = 0xcbf29ce484222325u;  // FNV-1a over the numbers
  for (const std::int64_t value : values_)
    state = (state ^ static_cast<std::uint64_t>(value)) * 0x100000001b3u;
  return static_cast<std::size_t>(state ^ (state >> 29));
}

CachedPrimitive::CachedPrimitive(const dnnl::engine& engine, dnnl::primitive primitive,
                                 std::vector<Argument> arguments, const dnnl::memory::desc& scratchpad)
    : engine_(engine),
      primitive_(std::move(primitive)),
      arguments_(std::move(arguments)),
      scratchpad_bytes_(scratchpad.get_size()) {
  if (scratchpad_bytes_ > 0) arguments_.push_back({DNNL_ARG_SCRATCHPAD, scratchpad});
}

std::unique_ptr<CachedPrimitive::Handles> CachedPrimitive::take_handles() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto handles = std::move(idle_.back());
      idle_.pop_back();
      return handles;
    }
  }
  auto handles = std::make_unique<Handles>();
  handles->stream = dnnl::stream(engine_);
  for (const Argument& argument : arguments_) {
    handles->memories.push_back(dnnl::memory(argument.description, engine_, DNNL_MEMORY_NONE));
    handles->arguments.push_back({argument.id, handles->memories.back().get()});
  }
  return handles;
}

std::byte* CachedPrimitive::take_scratchpad(Workspace& workspace) const {
  if (scratchpad_bytes_ == 0) return nullptr;
  return workspace.take(DType::kU8, {static_cast<std::int64_t>(scratchpad_bytes_)}).data();
}

void CachedPrimitive::execute(Workspace& workspace, std::initializer_list<const void*> data) {
  const Workspace::Scope scope(workspace);
  with_dnnl_errors("cpu", [&] {
    auto handles = take_handles();
    std::size_t i = 0;
    for (const void* pointer : data) handles->memories.at(i++).set_data_handle(const_cast<void*>(pointer));
    if (i < arguments_.size()) {
      WAN_ASSERT(arguments_[i].id == DNNL_ARG_SCRATCHPAD);
      handles->memories[i].set_data_handle(take_scratchpad(workspace));
    }
    const dnnl_status_t status =
        dnnl_primitive_execute(primitive_.get(), handles->stream.get(),
                               static_cast<int>(handles->arguments.size()), handles->arguments.data());
    if (status != dnnl_success) throw dnnl::error(status, "execution failed");
    handles->stream.wait();
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(handles));
  });
}

void PrimitiveCache::drop_oldest() {
  if (entries_.size() <= capacity_) return;
  entries_.erase(std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  }));
}

OpenMpThreads::OpenMpThreads(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(threads);
}

OpenMpThreads::~OpenMpThreads() {
  omp_set_num_threads(before_);
}

dnnl::memory::data_type type_of(const TensorView& view) {
  return view.dtype() == DType::kF32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

}  // namespace wan
