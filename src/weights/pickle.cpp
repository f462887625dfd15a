#include "weights/pickle.h"

#include <bit>
#include <unordered_map>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "weights/byte_reader.h"
#include "weights/pickle_globals.h"
#include "weights/pickle_opcodes.h"

namespace wan {

namespace {

// A tensor takes about 150 bytes and 10 values; the largest Wan checkpoint has 1,400 tensors.
constexpr std::size_t kMaxPickleBytes = 16u << 20;
constexpr std::size_t kMaxValues = 1u << 20;
constexpr std::size_t kMaxStack = 1u << 20;
constexpr std::size_t kMaxItems = 1u << 22;  // in all containers together: a shared list can be copied often
constexpr std::size_t kMaxTensorRank = 64;   // PyTorch's own
constexpr const char* kRemedy =
    "do not use this file unless you trust its origin; torch.save(model.state_dict(), ...) writes tensors "
    "alone";

}  // namespace

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, const std::string& file)
      : where_(file + ": pickle"), reader_(bytes, where_) {
    WAN_CHECK(bytes.size() <= kMaxPickleBytes, kBadFile, "[{}] expected at most {} bytes, got {}; {}", where_,
              kMaxPickleBytes, bytes.size(), kRemedy);
  }

  Pickle run() {
    while (step(reader_.u8())) {
    }
    result_.root_ = pop();
    return std::move(result_);
  }

 private:
  // False at the end of the pickle.
  bool step(std::uint8_t code) {
    using enum PickleOpcode;
    const auto opcode = static_cast<PickleOpcode>(code);
    switch (opcode) {
      case kStop:
        return false;
      case kProto: {
        const int protocol = reader_.u8();
        WAN_CHECK(protocol >= 2 && protocol <= 5, kUnsupported,
                  "[{}] protocol {} is not read (2 to 5 are); save the file again with torch.save", where_,
                  protocol);
        break;
      }
      case kFrame:
        reader_.u64();  // a hint for buffered readers
        break;
      case kMark:
        WAN_CHECK(marks_.size() < kMaxStack, kBadFile, "[{}] too many marks; {}", where_, kRemedy);
        marks_.push_back(stack_.size());
        break;
      case kPop:
        pop();
        break;
      case kPopMark:
        pop_to_mark();
        break;
      case kDup:
        push_ref(top());
        break;
      case kNone:
        push({.kind = PickleKind::kNone});
        break;
      case kNewTrue:
      case kNewFalse:
        push({.kind = PickleKind::kBool, .integer = opcode == kNewTrue});
        break;
      case kBinInt:
        push_int(static_cast<std::int32_t>(reader_.u32()));
        break;
      case kBinInt1:
        push_int(reader_.u8());
        break;
      case kBinInt2:
        push_int(reader_.u16());
        break;
      case kLong1:
        push_int(read_long());
        break;
      case kBinFloat:
        push({.kind = PickleKind::kFloat, .real = read_big_endian_double()});
        break;
      case kShortBinUnicode:
        push_text(reader_.text(reader_.u8()));
        break;
      case kBinUnicode:
        push_text(reader_.text(reader_.u32()));
        break;
      case kBinUnicode8:
        push_text(reader_.text(reader_.u64()));
        break;
      case kEmptyTuple:
        push({.kind = PickleKind::kTuple});
        break;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push({.kind = PickleKind::kTuple, .items = pop_many(code - static_cast<std::uint8_t>(kTuple1) + 1u)});
        break;
      case kTuple:
        push({.kind = PickleKind::kTuple, .items = pop_to_mark()});
        break;
      case kEmptyList:
        push({.kind = PickleKind::kList});
        break;
      case kList:
        push({.kind = PickleKind::kList, .items = pop_to_mark()});
        break;
      case kAppend:
        extend(PickleKind::kList, pop_many(1));
        break;
      case kAppends:
        extend(PickleKind::kList, pop_to_mark());
        break;
      case kEmptyDict:
        push({.kind = PickleKind::kDict});
        break;
      case kDict:
        push({.kind = PickleKind::kDict, .items = pairs(pop_to_mark())});
        break;
      case kSetItem:
        extend(PickleKind::kDict, pop_many(2));
        break;
      case kSetItems:
        extend(PickleKind::kDict, pairs(pop_to_mark()));
        break;
      case kBinPut:
        memo_[reader_.u8()] = top();
        break;
      case kLongBinPut:
        memo_[reader_.u32()] = top();
        break;
      case kMemoize:
        memo_[static_cast<std::uint32_t>(memo_.size())] = top();
        break;
      case kBinGet:
        push_memo(reader_.u8());
        break;
      case kLongBinGet:
        push_memo(reader_.u32());
        break;
      case kGlobal: {
        const std::string_view module = reader_.line();
        push_global(module, reader_.line());
        break;
      }
      case kStackGlobal: {
        const std::vector<PickleRef> names = pop_many(2);
        push_global(text(names[0]), text(names[1]));
        break;
      }
      case kBinPersId:
        push_storage(pop());
        break;
      case kReduce: {
        const std::vector<PickleRef> call = pop_many(2);
        reduce(call[0], call[1]);
        break;
      }
      case kBuild:
        // state_dict() hangs its version metadata on the OrderedDict; nothing else has a state.
        pop();
        WAN_CHECK(value(top()).kind == PickleKind::kDict, kBadFile,
                  "[{}] refused: setting attributes is not needed for tensors; {}", where_, kRemedy);
        break;
      default:
        fail(ErrorCode::kBadFile, "[{}] refused: opcode 0x{:02x} at byte {} is not needed for tensors; {}",
             where_, code, reader_.position() - 1, kRemedy);
    }
    return true;
  }

  const PickleValue& value(PickleRef ref) const { return result_.values_[ref]; }

  void malformed(bool condition, const char* what) const {
    WAN_CHECK(!condition, kBadFile, "[{}] malformed near byte {}: {}; download the file again", where_,
              reader_.position(), what);
  }

  // The stack since the last mark.
  std::size_t depth() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  PickleRef top() const {
    malformed(depth() == 0, "the stack is empty");
    return stack_.back();
  }

  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }

  std::vector<PickleRef> pop_many(std::size_t count) {
    malformed(depth() < count, "the stack is too short");
    std::vector<PickleRef> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }

  std::vector<PickleRef> pop_to_mark() {
    malformed(marks_.empty(), "no mark is open");
    std::vector<PickleRef> items = pop_many(depth());
    marks_.pop_back();
    return items;
  }

  std::vector<PickleRef> pairs(std::vector<PickleRef> items) const {
    malformed(items.size() % 2 != 0, "a key has no value");
    return items;
  }

  void push_ref(PickleRef ref) {
    WAN_CHECK(stack_.size() < kMaxStack, kBadFile, "[{}] the stack is deeper than {}; {}", where_, kMaxStack,
              kRemedy);
    stack_.push_back(ref);
  }

  void push(PickleValue&& pushed) {
    WAN_CHECK(result_.values_.size() < kMaxValues, kBadFile, "[{}] more than {} values; {}", where_,
              kMaxValues, kRemedy);
    result_.values_.push_back(std::move(pushed));
    push_ref(static_cast<PickleRef>(result_.values_.size() - 1));
  }

  void push_int(std::int64_t integer) { push({.kind = PickleKind::kInt, .integer = integer}); }

  void push_text(std::string_view text) {
    malformed(!is_plain_utf8(text), "text is not UTF-8");
    push({.kind = PickleKind::kString, .text = text});
  }

  void push_memo(std::uint32_t index) {
    const auto found = memo_.find(index);
    malformed(found == memo_.end(), "the memo has no such value");
    push_ref(found->second);
  }

  void extend(PickleKind kind, const std::vector<PickleRef>& items) {
    PickleValue& container = result_.values_[top()];
    malformed(container.kind != kind, "items for something that is no such container");
    count_items(items.size());
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  void count_items(std::size_t count) {
    items_ += count;
    WAN_CHECK(items_ <= kMaxItems, kBadFile, "[{}] containers hold more than {} items; {}", where_, kMaxItems,
              kRemedy);
  }

  std::string_view text(PickleRef ref) const {
    malformed(value(ref).kind != PickleKind::kString, "expected text");
    return value(ref).text;
  }

  std::int64_t read_long() {
    const std::span<const std::byte> digits = reader_.take(reader_.u8());
    malformed(digits.size() > 8, "an integer has more than 64 bits");
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) bits |= static_cast<std::uint64_t>(digits[i]) << (8 * i);
    const std::size_t missing = 64 - 8 * digits.size();  // sign extension
    return missing == 64 ? 0 : static_cast<std::int64_t>(bits << missing) >> missing;
  }

  double read_big_endian_double() {
    std::uint64_t bits = 0;
    for (const std::byte byte : reader_.take(8)) bits = (bits << 8) | static_cast<std::uint64_t>(byte);
    return std::bit_cast<double>(bits);
  }

  void push_global(std::string_view module, std::string_view name) {
    const auto facts = find_pickle_global(module, name);
    WAN_CHECK(facts.has_value(), kBadFile, "[{}] refused: {} is not needed for tensors; {}", where_,
              quote_name(std::string(module) + "." + std::string(name)), kRemedy);
    push({.kind = PickleKind::kGlobal,
          .dtype = facts->dtype,
          .integer = static_cast<std::int64_t>(facts->global)});
  }

  bool is_global(PickleRef ref, PickleGlobal global) const {
    return value(ref).kind == PickleKind::kGlobal && value(ref).integer == static_cast<std::int64_t>(global);
  }

  const std::vector<PickleRef>& tuple(PickleRef ref) const {
    malformed(value(ref).kind != PickleKind::kTuple, "expected a tuple");
    return value(ref).items;
  }

  // ('storage', torch.FloatStorage, '0', 'cpu', 1024)
  void push_storage(PickleRef id) {
    const std::vector<PickleRef>& parts = tuple(id);
    malformed(parts.size() != 5 || text(parts[0]) != "storage", "a persistent id that is no storage");
    malformed(!is_global(parts[1], PickleGlobal::kStorageType), "a storage of no known type");
    const PickleValue& count = value(parts[4]);
    malformed(count.kind != PickleKind::kInt || count.integer < 0, "a storage without a size");
    push({.kind = PickleKind::kStorage,
          .dtype = value(parts[1]).dtype,
          .integer = count.integer,
          .text = text(parts[2])});
  }

  void reduce(PickleRef callable, PickleRef arguments) {
    const std::vector<PickleRef>& args = tuple(arguments);
    if (is_global(callable, PickleGlobal::kOrderedDict)) {
      push_ordered_dict(args);
    } else if (is_global(callable, PickleGlobal::kRebuildTensor)) {
      push_tensor(args, std::nullopt);
    } else if (is_global(callable, PickleGlobal::kRebuildTypedTensor)) {
      push_typed_tensor(args);
    } else if (is_global(callable, PickleGlobal::kRebuildParameter)) {
      // (tensor, requires_grad, hooks)
      malformed(args.size() != 3 || value(args[0]).kind != PickleKind::kTensor,
                "a parameter without a tensor");
      push_ref(args[0]);
    } else {
      malformed(true, "a call of something that is no callable");
    }
  }

  // OrderedDict() or OrderedDict([[key, value], ...])
  void push_ordered_dict(const std::vector<PickleRef>& args) {
    PickleValue dict{.kind = PickleKind::kDict};
    malformed(args.size() > 1, "OrderedDict with several arguments");
    if (args.size() == 1) {
      malformed(value(args[0]).kind != PickleKind::kList, "OrderedDict of no list");
      count_items(2 * value(args[0]).items.size());
      for (const PickleRef pair : value(args[0]).items) {
        const PickleValue& both = value(pair);
        malformed(
            (both.kind != PickleKind::kList && both.kind != PickleKind::kTuple) || both.items.size() != 2,
            "OrderedDict of no pairs");
        dict.items.insert(dict.items.end(), both.items.begin(), both.items.end());
      }
    }
    push(std::move(dict));
  }

  // (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]); of bytes, and of dtypes that have one
  void push_typed_tensor(std::vector<PickleRef> args) {
    constexpr std::size_t kType = 6;
    malformed(args.size() != kType + 1 && args.size() != kType + 2,
              "_rebuild_tensor_v3 with too few or many arguments");
    malformed(!is_global(args[kType], PickleGlobal::kDType), "a tensor of no known dtype");
    malformed(value(args[0]).kind != PickleKind::kStorage || value(args[0]).dtype != DType::kU8,
              "a tensor of no bytes");
    const DType dtype = value(args[kType]).dtype;
    args.erase(args.begin() + kType);
    push_tensor(args, dtype);
  }

  // (storage, offset, size, stride, requires_grad, hooks[, metadata]); `dtype`: where it is not the storage's
  void push_tensor(const std::vector<PickleRef>& args, std::optional<DType> dtype) {
    malformed(args.size() != 6 && args.size() != 7, "_rebuild_tensor_v2 with too few or many arguments");
    malformed(value(args[0]).kind != PickleKind::kStorage, "a tensor without a storage");
    malformed(value(args[1]).kind != PickleKind::kInt, "a tensor without an offset");
    malformed(tuple(args[2]).size() != tuple(args[3]).size(),
              "a tensor whose sizes and strides differ in number");
    malformed(tuple(args[2]).size() > kMaxTensorRank, "a tensor has too many dimensions");
    for (const PickleRef list : {args[2], args[3]})
      for (const PickleRef item : tuple(list))
        malformed(value(item).kind != PickleKind::kInt, "a tensor's size or stride is no integer");
    push({.kind = PickleKind::kTensor,
          .dtype = dtype.value_or(value(args[0]).dtype),
          .integer = value(args[1]).integer,
          .items = {args[0], args[2], args[3]}});
  }

  std::string where_;
  ByteReader reader_;
  Pickle result_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleRef> memo_;
  std::size_t items_ = 0;
};

Pickle Pickle::parse(std::span<const std::byte> bytes, const std::string& file) {
  return PickleMachine(bytes, file).run();
}

}  // namespace wan
