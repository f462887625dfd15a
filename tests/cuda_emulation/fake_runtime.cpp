#include "cuda_emulation/fake_runtime.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "backends/cuda/scratch.h"

namespace wan::cuda_emulation {

namespace {

constexpr std::size_t kGuard = 256;
constexpr int kGuardByte = 0x5a;
// As much of a block that holds scratch for a library, which is not here, is NaN before it is written and after it is given back; of
// smaller ones everything.
constexpr std::size_t kSpoiled = std::size_t{8} << 20;

/// A pool keeps up to `keeps` bytes of what is released, as addresses only: what it gives out is always fresh memory.
struct Pool {
  std::uint64_t keeps = 0;
  std::size_t used = 0;
  std::size_t reserved = 0;  // used, and kept for later
};

struct Block {
  std::size_t bytes;  // without guards
  Pool* pool;         // or none
  int device;
};

struct Memory {
  std::mutex mutex;
  std::map<const std::byte*, Block> blocks;  // by their start
  std::size_t taken = 0;                     // outside pools, and what pools have reserved
  int damaged = 0;
  Pool default_pool;
  std::map<const std::byte*, std::size_t> pinned;  // bytes of the host's memory, by their start
};

Memory& memory() {
  static Memory instance;
  return instance;
}

/// The device whose memory it is, or none.
std::optional<int> device_at(const void* pointer, std::size_t bytes) {
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  const auto* p = static_cast<const std::byte*>(pointer);
  auto after = m.blocks.upper_bound(p);
  if (after == m.blocks.begin()) return std::nullopt;
  --after;
  if (p < after->first || p + bytes > after->first + after->second.bytes) return std::nullopt;
  return after->second.device;
}

bool on_device(const void* pointer, std::size_t bytes) {
  return device_at(pointer, bytes).has_value();
}

bool is_pinned(const void* pointer, std::size_t bytes) {
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  const auto* p = static_cast<const std::byte*>(pointer);
  auto after = m.pinned.upper_bound(p);
  if (after == m.pinned.begin()) return false;
  --after;
  return p >= after->first && p + bytes <= after->first + after->second;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

/// A stream or an event: the device on which it was made, and an event's time.
struct Handle {
  int device;
  float milliseconds;
};

template <typename T>
int device_of(T* handle) {
  return reinterpret_cast<const Handle*>(handle)->device;
}

template <typename T>
cudaError_t make_handle(T** made) {
  *made = reinterpret_cast<T*>(new Handle{current_device, 0.0f});
  return cudaSuccess;
}

template <typename T>
cudaError_t end_handle(T* handle) {
  delete reinterpret_cast<Handle*>(handle);
  return cudaSuccess;
}

cudaError_t driver_status() {
  if (fake_machine().driver_version == 0) return cudaErrorInsufficientDriver;  // as the runtime says it
  if (fake_machine().driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
  return fake_machine().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}

void spoil(std::byte* block, std::size_t bytes) {
  std::memset(block, 0xff, bytes < std::size_t{cuda::kConvolutionWorkspaceBytes} ? bytes : kSpoiled);
}

cudaError_t allocate(void** pointer, std::size_t bytes, Pool* pool = nullptr) {
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  const std::size_t kept = pool != nullptr ? pool->reserved - pool->used : 0;
  const std::size_t more = bytes > kept ? bytes - kept : 0;
  if (m.taken + more > fake_machine().total_bytes) return result(cudaErrorMemoryAllocation);
  const std::size_t padded = (bytes + kGuard - 1) / kGuard * kGuard + 2 * kGuard;
  auto* const raw = static_cast<std::byte*>(std::aligned_alloc(kGuard, padded));
  std::memset(raw, kGuardByte, kGuard);
  std::memset(raw + kGuard + bytes, kGuardByte, padded - kGuard - bytes);
  spoil(raw + kGuard, bytes);
  m.blocks.emplace(raw + kGuard, Block{bytes, pool, current_device});
  m.taken += more;
  if (pool != nullptr) {
    pool->used += bytes;
    pool->reserved += more;
  }
  *pointer = raw + kGuard;
  return cudaSuccess;
}

/// Gives back what `pool` keeps beyond `bytes`; the lock is held.
void trim(Pool& pool, std::size_t bytes) {
  const std::size_t stays = std::max(pool.used, std::min(pool.reserved, bytes));
  memory().taken -= pool.reserved - stays;
  pool.reserved = stays;
}

Pool* as_pool(cudaMemPool_t pool) {
  return reinterpret_cast<Pool*>(pool);
}

cudaError_t release(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  auto* const start = static_cast<std::byte*>(pointer);
  const auto found = m.blocks.find(start);
  if (found == m.blocks.end()) return result(cudaErrorInvalidValue);
  const std::size_t bytes = found->second.bytes;
  Pool* const pool = found->second.pool;
  bool whole = true;
  for (std::size_t i = 0; i < kGuard; ++i)
    whole = whole && start[bytes + i] == std::byte{kGuardByte} &&
            start[-1 - static_cast<std::ptrdiff_t>(i)] == std::byte{kGuardByte};
  if (!whole) ++m.damaged;
  if (pool != nullptr) {
    pool->used -= bytes;
    trim(*pool, pool->keeps);
  } else {
    m.taken -= bytes;
  }
  m.blocks.erase(found);
  spoil(start, bytes);
  std::free(start - kGuard);
  return cudaSuccess;
}

}  // namespace

FakeMachine& fake_machine() {
  static FakeMachine instance;
  return instance;
}

std::size_t fake_used_bytes() {
  const std::scoped_lock lock(memory().mutex);
  return memory().taken;
}

std::uint64_t fake_default_pool_keeps() {
  return memory().default_pool.keeps;
}

bool fake_stream_is_current(cudaStream_t stream) {
  return stream == nullptr || device_of(stream) == current_device;
}

int damaged_guards() {
  const std::scoped_lock lock(memory().mutex);
  return memory().damaged;
}

}  // namespace wan::cuda_emulation

using namespace wan::
    cuda_emulation;  // NOLINT: the functions below are the runtime's, outside every namespace

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}
const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "out of memory" : "an error of the fake runtime";
}
const char* cudaGetErrorName(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorFake";
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = fake_machine().driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = fake_machine().devices;
  return result(driver_status());
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= fake_machine().devices) return result(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= fake_machine().devices) return result(cudaErrorInvalidDevice);
  std::strcpy(properties->name, "Emulated GPU");
  properties->major = 8;
  properties->minor = 6;
  properties->multiProcessorCount = 2;
  properties->maxThreadsPerMultiProcessor = 1536;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrMemoryPoolsSupported) return result(cudaErrorInvalidValue);
  *value = fake_machine().has_pools ? 1 : 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = fake_machine().total_bytes;
  *free_bytes = *total_bytes - fake_used_bytes();
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) {
  return result(fake_machine().has_code ? cudaSuccess : cudaErrorNoKernelImageForDevice);
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = reinterpret_cast<cudaMemPool_t>(&memory().default_pool);
  return cudaSuccess;
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  if (properties->location.type != cudaMemLocationTypeDevice ||
      properties->location.id >= fake_machine().devices || !fake_machine().has_pools)
    return result(cudaErrorInvalidValue);
  *pool = reinterpret_cast<cudaMemPool_t>(new Pool);
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  const std::scoped_lock lock(memory().mutex);
  if (as_pool(pool)->used > 0) return result(cudaErrorInvalidValue);  // the runtime would wait for its end
  trim(*as_pool(pool), 0);
  delete as_pool(pool);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return result(cudaErrorInvalidValue);
  const std::scoped_lock lock(memory().mutex);
  as_pool(pool)->keeps = *static_cast<const std::uint64_t*>(value);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc* access, size_t count) {
  return count == 1 && access->location.id < fake_machine().devices ? cudaSuccess
                                                                    : result(cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceCanAccessPeer(int* reachable, int device, int peer) {
  if (device == peer || std::max(device, peer) >= fake_machine().devices)
    return result(cudaErrorInvalidDevice);
  *reachable = fake_machine().has_links ? 1 : 0;
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  const std::scoped_lock lock(memory().mutex);
  auto& number = *static_cast<std::uint64_t*>(value);
  if (attribute == cudaMemPoolAttrReservedMemCurrent)
    number = as_pool(pool)->reserved;
  else if (attribute == cudaMemPoolAttrUsedMemCurrent)
    number = as_pool(pool)->used;
  else
    return result(cudaErrorInvalidValue);
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes) {
  const std::scoped_lock lock(memory().mutex);
  trim(*as_pool(pool), bytes);
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return allocate(pointer, bytes);
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return allocate(pointer, bytes, &memory().default_pool);
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t) {
  return allocate(pointer, bytes, as_pool(pool));
}
cudaError_t cudaFree(void* pointer) {
  return release(pointer);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return release(pointer);
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned int) {
  *pointer = std::malloc(bytes);
  const std::scoped_lock lock(memory().mutex);
  memory().pinned[static_cast<const std::byte*>(*pointer)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  {
    const std::scoped_lock lock(memory().mutex);
    memory().pinned.erase(static_cast<const std::byte*>(pointer));
  }
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  return make_handle(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return end_handle(stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  return make_handle(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return end_handle(event);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream != nullptr && device_of(event) != device_of(stream))
    return result(cudaErrorInvalidResourceHandle);
  reinterpret_cast<Handle*>(event)->milliseconds = fake_machine().milliseconds;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  FakeMachine& machine = fake_machine();
  if (machine.wait_milliseconds > 0) machine.milliseconds += machine.wait_milliseconds;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) {
  return fake_machine().is_behind ? result(cudaErrorNotReady) : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds =
      reinterpret_cast<Handle*>(end)->milliseconds - reinterpret_cast<Handle*>(begin)->milliseconds;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (on_device(to, bytes) != to_device || on_device(from, bytes) != from_device)
    return result(cudaErrorInvalidValue);
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t) {
  if (kind != cudaMemcpyDefault || to_pitch < width || from_pitch < width)
    return result(cudaErrorInvalidValue);
  const auto at = [](const void* begin, size_t offset) {
    return static_cast<const std::byte*>(begin) + offset;
  };
  for (size_t row = 0; row < height; ++row) {
    const std::byte* const there = at(to, row * to_pitch);
    const std::byte* const here = at(from, row * from_pitch);
    const std::optional<int> target = device_at(there, width);
    const std::optional<int> source = device_at(here, width);
    const bool known = (target || is_pinned(there, width)) && (source || is_pinned(here, width));
    const bool linked = !target || !source || target == source || fake_machine().has_links;
    if (!known || !linked) return result(cudaErrorInvalidValue);
    std::memmove(const_cast<std::byte*>(there), here, width);
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (!on_device(to, bytes)) return result(cudaErrorInvalidValue);
  std::memset(to, value, bytes);
  return cudaSuccess;
}

}  // extern "C"
