#pragma once
// A golden checkpoint after an edit of its table of tensors.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"

namespace wan::test {

using TensorEdit = std::function<void(std::vector<TensorEntry>&)>;

struct EditedCheckpoint {
  Checkpoint original;  // holds what the edited one's tensors point to
  Checkpoint edited;
};

inline EditedCheckpoint edit_checkpoint(const std::string& golden, const TensorEdit& edit) {
  Checkpoint original = Checkpoint::open(golden_path(golden));
  std::vector<TensorEntry> tensors(original.entries().begin(), original.entries().end());
  edit(tensors);
  return {std::move(original), Checkpoint::from_files({{.tensors = tensors, .metadata = {}}}, "edited.pth")};
}

inline TensorEntry& tensor_at(std::vector<TensorEntry>& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  WAN_ASSERT(found != tensors.end());
  return *found;
}

inline void drop_tensor(std::vector<TensorEntry>& tensors, const std::string& name) {
  tensors.erase(tensors.begin() + (&tensor_at(tensors, name) - tensors.data()));
}

/// Puts the contents of another tensor in the place of `name`.
inline void replace_tensor(std::vector<TensorEntry>& tensors, const std::string& name,
                           const std::string& by) {
  TensorEntry& entry = tensor_at(tensors, name);
  entry = tensor_at(tensors, by);
  entry.name = name;
}

}  // namespace wan::test
