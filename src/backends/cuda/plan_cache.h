#pragma once
// PlanCache: what a library was asked to prepare for a problem, kept for the next time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace wan::cuda {

/// The `capacity` plans that were used last. A video needs some hundred, and whoever asks for other sizes and prompts without end
/// must not fill the host's memory.
template <typename Key, typename Plan>
class PlanCache {
 public:
  static constexpr std::size_t kCapacity = 1024;
  explicit PlanCache(std::size_t capacity = kCapacity) : capacity_(capacity) {}

  /// nullptr where there is none. What is pointed to stays until the next add().
  Plan* find(const Key& key) {
    const auto found = plans_.find(key);
    if (found == plans_.end()) return nullptr;
    found->second.last_use = ++uses_;
    return &found->second.plan;
  }

  /// Whether add() of another key drops a plan: then the device must have done with it.
  bool full() const { return plans_.size() >= capacity_; }

  /// In place of the key's former plan, or of the one that was not used for longest where the cache is full.
  Plan& add(const Key& key, Plan plan) {
    const auto former = plans_.find(key);
    if (former != plans_.end()) {
      plans_.erase(former);
    } else if (full()) {
      plans_.erase(std::min_element(plans_.begin(), plans_.end(), [](const auto& a, const auto& b) {
        return a.second.last_use < b.second.last_use;
      }));
    }
    return plans_.emplace(key, Entry{std::move(plan), ++uses_}).first->second.plan;
  }

  std::size_t size() const { return plans_.size(); }

 private:
  struct Entry {
    Plan plan;
    std::uint64_t last_use;
  };

  std::size_t capacity_;
  std::uint64_t uses_ = 0;
  std::map<Key, Entry> plans_;
};

}  // namespace wan::cuda
