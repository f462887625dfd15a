#pragma once
// A pickle reader that knows tensors and plain containers and nothing else: no code of the file's choosing
// runs. The opcodes are those of Python's pickletools for protocols 2 to 5 that torch.save emits.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace wan {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kTuple,
  kList,
  kDict,     // items: key, value, key, value ...; also an OrderedDict
  kGlobal,   // one of the few callables and types that tensors need
  kStorage,  // a persistent id: text is the archive's key, dtype the elements', integer their count
  kTensor,   // items: storage, size tuple, stride tuple; integer is the offset in elements
};

/// Index of a value in its Pickle; values may be shared and may contain themselves.
using PickleRef = std::uint32_t;

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  DType dtype = DType::kF32;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text{};  // points into the pickle's bytes
  std::vector<PickleRef> items{};
};

class Pickle {
 public:
  /// Runs the pickle in `bytes`, which must outlive the result. Throws BadFile for anything malformed, too
  /// large, or needing a callable or opcode that tensors do not (the message names it).
  static Pickle parse(std::span<const std::byte> bytes, const std::string& file);

  PickleRef root() const { return root_; }
  const PickleValue& operator[](PickleRef ref) const { return values_[ref]; }

 private:
  friend class PickleMachine;
  std::vector<PickleValue> values_;
  PickleRef root_ = 0;
};

}  // namespace wan
