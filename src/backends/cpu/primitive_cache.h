#pragma once
// oneDNN primitives, built once for each set of shapes, strides, types and threads.

#include <array>
#include <cstdint>
#include <dnnl.hpp>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "ops/workspace.h"

namespace wan {

/// Everything that a primitive's code depends on, as numbers; the first says which kind of primitive it is.
class PrimitiveKey {
 public:
  PrimitiveKey(std::initializer_list<std::int64_t> values);
  void set_kind(char kind) { values_[0] = kind; }
  std::size_t hash() const;
  friend bool operator==(const PrimitiveKey&, const PrimitiveKey&) = default;

 private:
  std::array<std::int64_t, 24> values_{};
};

/// A primitive with its memory descriptions. Ranks that are threads may execute it at the same time: each call
/// has handles of its own, and scratch memory from its own workspace.
class CachedPrimitive {
 public:
  struct Argument {
    int id;  // DNNL_ARG_...
    dnnl::memory::desc description;
  };
  /// The primitive's attributes ask for a user scratchpad of `scratchpad`'s size.
  CachedPrimitive(const dnnl::engine& engine, dnnl::primitive primitive, std::vector<Argument> arguments,
                  const dnnl::memory::desc& scratchpad);

  const dnnl::memory::desc& description(std::size_t argument) const {
    return arguments_[argument].description;
  }
  /// What execute() takes from the workspace; nullptr where it takes nothing.
  std::byte* take_scratchpad(Workspace& workspace) const;
  /// data: one pointer an argument, in the constructor's order.
  void execute(Workspace& workspace, std::initializer_list<const void*> data);

 private:
  struct Handles {
    dnnl::stream stream;
    std::vector<dnnl::memory> memories;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  std::unique_ptr<Handles> take_handles();

  dnnl::engine engine_;
  dnnl::primitive primitive_;
  std::vector<Argument> arguments_;  // the scratchpad last, where there is one
  std::size_t scratchpad_bytes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Handles>> idle_;
};

/// Thread-safe. Keeps the most recently used primitives.
class PrimitiveCache {
 public:
  explicit PrimitiveCache(std::size_t capacity = 512) : capacity_(capacity) {}

  const dnnl::engine& engine() const { return engine_; }
  /// The primitive of this key; make() builds it on the first call, for the calling thread's OpenMP threads.
  template <typename Make>
  std::shared_ptr<CachedPrimitive> get(const PrimitiveKey& key, Make&& make) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[key];
    entry.last_use = ++uses_;
    if (!entry.primitive) {
      entry.primitive = make();
      drop_oldest();
    }
    return entry.primitive;
  }

 private:
  struct Entry {
    std::shared_ptr<CachedPrimitive> primitive;
    std::uint64_t last_use = 0;
  };
  struct Hash {
    std::size_t operator()(const PrimitiveKey& key) const { return key.hash(); }
  };
  void drop_oldest();

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  std::size_t capacity_;
  std::mutex mutex_;
  std::uint64_t uses_ = 0;
  std::unordered_map<PrimitiveKey, Entry, Hash> entries_;
};

/// Sets the calling thread's number of OpenMP threads, which oneDNN uses, and puts the old one back.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads);
  ~OpenMpThreads();
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int before_;
};

/// Calls f and turns oneDNN's exceptions into wan::Error.
template <typename F>
auto with_dnnl_errors(const char* where, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& error) {
    fail(error.status == dnnl_out_of_memory ? ErrorCode::kOutOfMemory : ErrorCode::kDevice,
         "[{}] oneDNN: {} (status {})", where, error.what(), static_cast<int>(error.status));
  }
}

/// oneDNN's name of a view's type, f32 or bf16. Sums are f32 in both.
dnnl::memory::data_type type_of(const TensorView& view);

/// Attributes of every primitive here: scratch memory comes from the caller.
dnnl::primitive_attr user_scratchpad();

}  // namespace wan
