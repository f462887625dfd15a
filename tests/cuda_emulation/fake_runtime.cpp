#include "cuda_emulation/fake_runtime.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace wan::cuda_emulation {

namespace {

constexpr std::size_t kGuard = 256;
constexpr int kGuardByte = 0x5a;

struct Memory {
  std::mutex mutex;
  std::map<const std::byte*, std::size_t> blocks;  // start and size, without guards
  std::size_t used = 0;
  int damaged = 0;
};

Memory& memory() {
  static Memory instance;
  return instance;
}

bool on_device(const void* pointer, std::size_t bytes) {
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  const auto* p = static_cast<const std::byte*>(pointer);
  auto after = m.blocks.upper_bound(p);
  if (after == m.blocks.begin()) return false;
  --after;
  return p >= after->first && p + bytes <= after->first + after->second;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

cudaError_t driver_status() {
  if (fake_machine().driver_version == 0) return cudaErrorInsufficientDriver;  // as the runtime says it
  if (fake_machine().driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
  return fake_machine().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t allocate(void** pointer, std::size_t bytes) {
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  if (m.used + bytes > fake_machine().total_bytes) return result(cudaErrorMemoryAllocation);
  const std::size_t padded = (bytes + kGuard - 1) / kGuard * kGuard + 2 * kGuard;
  auto* const raw = static_cast<std::byte*>(std::aligned_alloc(kGuard, padded));
  std::memset(raw, kGuardByte, padded);
  std::memset(raw + kGuard, 0xff, bytes);
  m.blocks.emplace(raw + kGuard, bytes);
  m.used += bytes;
  *pointer = raw + kGuard;
  return cudaSuccess;
}

cudaError_t release(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  Memory& m = memory();
  const std::scoped_lock lock(m.mutex);
  auto* const start = static_cast<std::byte*>(pointer);
  const auto found = m.blocks.find(start);
  if (found == m.blocks.end()) return result(cudaErrorInvalidValue);
  const std::size_t bytes = found->second;
  bool whole = true;
  for (std::size_t i = 0; i < kGuard; ++i)
    whole = whole && start[bytes + i] == std::byte{kGuardByte} &&
            start[-1 - static_cast<std::ptrdiff_t>(i)] == std::byte{kGuardByte};
  if (!whole) ++m.damaged;
  m.used -= bytes;
  m.blocks.erase(found);
  std::memset(start, 0xff, bytes);
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
  return memory().used;
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
  static int there;
  *pool = reinterpret_cast<cudaMemPool_t>(&there);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return allocate(pointer, bytes);
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return allocate(pointer, bytes);
}
cudaError_t cudaFree(void* pointer) {
  return release(pointer);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return release(pointer);
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned int) {
  *pointer = std::malloc(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  *stream = static_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  *event = static_cast<cudaEvent_t>(std::malloc(sizeof(float)));
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const float now = fake_machine().milliseconds;
  std::memcpy(event, &now, sizeof now);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  float times[2];
  std::memcpy(&times[0], begin, sizeof(float));
  std::memcpy(&times[1], end, sizeof(float));
  *milliseconds = times[1] - times[0];
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
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (!on_device(to, bytes)) return result(cudaErrorInvalidValue);
  std::memset(to, value, bytes);
  return cudaSuccess;
}

}  // extern "C"
