#include "weights/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "base/checked_math.h"
#include "base/untrusted_text.h"
#include "weights/byte_reader.h"

namespace wan {

namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kMostTensors = 1u << 16;
constexpr std::uint64_t kMostPairs = 1u << 16;
constexpr std::uint64_t kMostName = 1u << 16;  // bytes of a key, a name, a text that is kept
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr int kDeepest = 4;  // lists in lists
constexpr std::string_view kOriginalShape = "comfy.gguf.orig_shape.";

struct TensorType {
  std::uint32_t id;
  const char* name;
  std::optional<DType> dtype;  // none: not read
};
constexpr std::array<TensorType, 36> kTensorTypes{{{0, "F32", DType::kF32},
                                                   {1, "F16", DType::kF16},
                                                   {2, "Q4_0", DType::kQ4_0},
                                                   {3, "Q4_1", DType::kQ4_1},
                                                   {6, "Q5_0", DType::kQ5_0},
                                                   {7, "Q5_1", DType::kQ5_1},
                                                   {8, "Q8_0", DType::kQ8_0},
                                                   {9, "Q8_1", {}},
                                                   {10, "Q2_K", DType::kQ2_K},
                                                   {11, "Q3_K", DType::kQ3_K},
                                                   {12, "Q4_K", DType::kQ4_K},
                                                   {13, "Q5_K", DType::kQ5_K},
                                                   {14, "Q6_K", DType::kQ6_K},
                                                   {15, "Q8_K", {}},
                                                   {16, "IQ2_XXS", {}},
                                                   {17, "IQ2_XS", {}},
                                                   {18, "IQ3_XXS", {}},
                                                   {19, "IQ1_S", {}},
                                                   {20, "IQ4_NL", DType::kIQ4_NL},
                                                   {21, "IQ3_S", {}},
                                                   {22, "IQ2_S", {}},
                                                   {23, "IQ4_XS", DType::kIQ4_XS},
                                                   {24, "I8", DType::kI8},
                                                   {25, "I16", DType::kI16},
                                                   {26, "I32", DType::kI32},
                                                   {27, "I64", DType::kI64},
                                                   {28, "F64", DType::kF64},
                                                   {29, "IQ1_M", {}},
                                                   {30, "BF16", DType::kBF16},
                                                   {31, "Q4_0_4_4", {}},
                                                   {32, "Q4_0_4_8", {}},
                                                   {33, "Q4_0_8_8", {}},
                                                   {34, "TQ1_0", {}},
                                                   {35, "TQ2_0", {}},
                                                   {39, "MXFP4", {}},
                                                   {40, "NVFP4", {}}}};

/// A value's type, as the format numbers it.
enum class ValueType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kText,
  kList,
  kU64,
  kI64,
  kF64,
  kCount
};

std::uint64_t size_of(ValueType type) {
  constexpr std::array<std::uint64_t, static_cast<std::size_t>(ValueType::kCount)> kSizes{1, 1, 2, 2, 4, 4, 4,
                                                                                          1, 0, 0, 8, 8, 8};
  return kSizes[static_cast<std::size_t>(type)];
}

class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(file), where_(file + ": GGUF header"), reader_(bytes, where_) {}

  CheckpointFile read() {
    const auto [tensors, pairs] = read_counts();
    for (std::uint64_t i = 0; i < pairs; ++i) read_pair();
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t i = 0; i < tensors; ++i) offsets.push_back(read_tensor());
    place(offsets);
    return std::move(result_);
  }

  GgufLists read_lists() {
    keeps_lists_ = true;
    const auto [tensors, pairs] = read_counts();
    for (std::uint64_t i = 0; i < pairs; ++i) read_pair();
    return std::move(lists_);
  }

 private:
  struct Counts {
    std::uint64_t tensors, pairs;
  };

  Counts read_counts() {
    WAN_CHECK(reader_.text(kMagic.size()) == kMagic, kBadFile, "[{}] is no GGUF file", file_);
    const std::uint32_t version = reader_.u32();
    WAN_CHECK((version & 0xffffu) != 0, kUnsupported,
              "[{}] is a GGUF file of a big-endian machine, which is not read; download the usual one",
              file_);
    WAN_CHECK(version == 2 || version == 3, kUnsupported,
              "[{}] is of GGUF version {}; 2 and 3 are read: download a newer copy", file_, version);
    const std::uint64_t tensors = reader_.u64();
    const std::uint64_t pairs = reader_.u64();
    WAN_CHECK(tensors <= kMostTensors && pairs <= kMostPairs, kBadFile,
              "[{}] expected at most {} tensors and {} pairs, got {} and {}; {}", where_, kMostTensors,
              kMostPairs, tensors, pairs, kDamaged);
    return {tensors, pairs};
  }

  std::string name(const char* what) {
    const std::uint64_t length = reader_.u64();
    WAN_CHECK(length > 0 && length <= kMostName, kBadFile, "[{}] expected {} of 1 to {} bytes, got {}; {}",
              where_, what, kMostName, length, kDamaged);
    std::string text(reader_.text(length));
    WAN_CHECK(is_plain_utf8(text), kBadFile, "[{}] {} is not readable; {}", where_, what, kDamaged);
    return text;
  }

  ValueType value_type() {
    const std::uint32_t type = reader_.u32();
    WAN_CHECK(type < static_cast<std::uint32_t>(ValueType::kCount), kBadFile, "[{}] a value of type {}; {}",
              where_, type, kDamaged);
    return static_cast<ValueType>(type);
  }

  void read_pair() {
    const std::string key = name("a key");
    WAN_CHECK(keys_.insert(key).second, kBadFile, "[{}] key {} stands twice; {}", where_, quote_name(key),
              kDamaged);
    const ValueType type = value_type();
    if (type == ValueType::kList) return read_list(key);
    if (type == ValueType::kText) {
      const std::uint64_t length = reader_.u64();
      const std::string_view text = reader_.text(length);
      if (length <= kMostName && is_plain_utf8(text)) result_.metadata.emplace(key, text);
      return;
    }
    result_.metadata.emplace(key, number(type));
  }

  /// The next value as text.
  std::string number(ValueType type) {
    switch (type) {
      case ValueType::kU8:
        return std::to_string(reader_.u8());
      case ValueType::kI8:
        return std::to_string(static_cast<std::int8_t>(reader_.u8()));
      case ValueType::kU16:
        return std::to_string(reader_.u16());
      case ValueType::kI16:
        return std::to_string(static_cast<std::int16_t>(reader_.u16()));
      case ValueType::kU32:
        return std::to_string(reader_.u32());
      case ValueType::kI32:
        return std::to_string(static_cast<std::int32_t>(reader_.u32()));
      case ValueType::kF32:
        return fmt::format("{}", std::bit_cast<float>(reader_.u32()));
      case ValueType::kBool:
        return reader_.u8() != 0 ? "true" : "false";
      case ValueType::kU64:
        return std::to_string(reader_.u64());
      case ValueType::kI64:
        return std::to_string(static_cast<std::int64_t>(reader_.u64()));
      case ValueType::kF64:
        return fmt::format("{}", std::bit_cast<double>(reader_.u64()));
      default:
        fail(ErrorCode::kInternal, "[gguf] type {} is no number", static_cast<int>(type));
    }
  }

  void read_list(const std::string& key) {
    if (!key.starts_with(kOriginalShape)) return read_values(key);
    const ValueType type = value_type();
    const std::uint64_t count = reader_.u64();
    WAN_CHECK((type == ValueType::kI32 || type == ValueType::kU32) && count <= Shape::kMaxRank, kBadFile,
              "[{}] expected a shape as {}; {}", where_, quote_name(key), kDamaged);
    std::vector<std::int64_t>& shape = original_shapes_[key.substr(kOriginalShape.size())];
    for (std::uint64_t i = 0; i < count; ++i) shape.push_back(static_cast<std::int32_t>(reader_.u32()));
  }

  /// A list that is kept, where lists are.
  void read_values(const std::string& key) {
    const ValueType type = value_type();
    const bool is_integer = type == ValueType::kI32 || type == ValueType::kU32;
    if (!keeps_lists_ || (type != ValueType::kText && !is_integer)) return skip_values(type, 1);
    const std::uint64_t count = reader_.u64();
    WAN_CHECK(count <= reader_.remaining() / (is_integer ? sizeof(std::uint32_t) : sizeof(std::uint64_t)),
              kBadFile, "[{}] a list of {} values; {}", where_, count, kDamaged);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (is_integer)
        lists_.integers[key].push_back(type == ValueType::kI32 ? static_cast<std::int32_t>(reader_.u32())
                                                               : std::int64_t{reader_.u32()});
      else
        lists_.texts[key].push_back(reader_.text(reader_.u64()));
    }
  }

  /// A list's number of values of the type, and they.
  void skip_values(ValueType type, int depth) {
    WAN_CHECK(depth <= kDeepest, kBadFile, "[{}] more than {} lists in lists; {}", where_, kDeepest,
              kDamaged);
    const std::uint64_t count = reader_.u64();
    if (type != ValueType::kText && type != ValueType::kList) {
      reader_.take(checked_mul(count, size_of(type), where_.c_str(), ErrorCode::kBadFile));
      return;
    }
    // Each has a length of its own, so that no more fit in the file than it has bytes for them.
    WAN_CHECK(count <= reader_.remaining() / sizeof(std::uint64_t), kBadFile, "[{}] a list of {} values; {}",
              where_, count, kDamaged);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (type == ValueType::kText)
        reader_.take(reader_.u64());
      else
        skip_values(value_type(), depth + 1);
    }
  }

  DType dtype_of(std::uint32_t id, const std::string& where) const {
    const auto* const found =
        std::ranges::find_if(kTensorTypes, [&](const TensorType& type) { return type.id == id; });
    WAN_CHECK(
        found != kTensorTypes.end() && found->dtype, kUnsupported,
        "[{}] is of type {}, which is not read; use a copy in Q8_0, Q6_K, Q5_K, Q4_K, Q3_K, Q2_K or the like",
        where, found != kTensorTypes.end() ? found->name : std::to_string(id));
    return *found->dtype;
  }

  /// Lists it, and gives its offset in the data.
  std::uint64_t read_tensor() {
    TensorEntry entry;
    entry.name = name("a tensor's name");
    entry.file = file_;
    entry.joins_dimensions = true;
    const std::string where = file_ + ": tensor " + quote_name(entry.name);
    const std::uint32_t rank = reader_.u32();
    WAN_CHECK(rank <= Shape::kMaxRank, kBadFile, "[{}] expected at most {} dimensions, got {}; {}", where,
              Shape::kMaxRank, rank, kDamaged);
    std::vector<std::int64_t> extents(rank);
    for (std::uint32_t i = rank; i-- > 0;) {  // the innermost stands first
      const std::uint64_t extent = reader_.u64();
      WAN_CHECK(extent <= INT64_MAX, kBadFile, "[{}] a dimension of {}; {}", where, extent, kDamaged);
      extents[i] = static_cast<std::int64_t>(extent);
    }
    entry.dtype = dtype_of(reader_.u32(), where);
    const std::int64_t elements = checked_product(extents, where.c_str(), ErrorCode::kBadFile);
    const std::int64_t row = rank > 0 ? extents.back() : 1;
    const auto block = static_cast<std::int64_t>(values_per_block(entry.dtype));
    WAN_CHECK(row % block == 0, kBadFile, "[{}] rows of {} are no whole blocks of {} {}; {}", where, row,
              block, dtype_name(entry.dtype), kDamaged);
    if (const auto original = original_shapes_.find(entry.name); original != original_shapes_.end()) {
      const std::vector<std::int64_t>& shape = original->second;
      WAN_CHECK(checked_product(shape, where.c_str(), ErrorCode::kBadFile) == elements && !shape.empty() &&
                    shape.back() % block == 0,
                kBadFile, "[{}] its original shape has not its {} elements; {}", where, elements, kDamaged);
      extents = shape;
    }
    entry.shape = Shape{std::span<const std::int64_t>(extents)};
    // Strides of an empty tensor are never used, and could overflow.
    entry.strides = elements == 0 ? entry.shape : contiguous_strides(entry.shape);
    result_.tensors.push_back(std::move(entry));
    return reader_.u64();
  }

  void place(const std::vector<std::uint64_t>& offsets) {
    std::uint64_t alignment = kDefaultAlignment;
    if (const auto given = result_.metadata.find("general.alignment"); given != result_.metadata.end()) {
      const std::string& text = given->second;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), alignment);
      WAN_CHECK(error == std::errc() && end == text.data() + text.size() && alignment > 0 &&
                    alignment <= std::uint64_t{1} << 24 && std::has_single_bit(alignment),
                kBadFile, "[{}] an alignment of {}; {}", where_, quote_name(text), kDamaged);
    }
    const std::uint64_t begin =
        std::min<std::uint64_t>((reader_.position() + alignment - 1) / alignment * alignment, bytes_.size());
    const std::span<const std::byte> data = bytes_.subspan(static_cast<std::size_t>(begin));
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      TensorEntry& tensor = result_.tensors[i];
      const std::size_t blocks = static_cast<std::size_t>(tensor.elements()) / values_per_block(tensor.dtype);
      WAN_CHECK(blocks <= data.size() / bytes_per_block(tensor.dtype), kBadFile,
                "[{}: tensor {}] expected {}, more than the {} bytes of data hold; {}", file_,
                quote_name(tensor.name), tensor.shape.to_string(), data.size(), kDamaged);
      const std::size_t size = dtype_bytes(tensor.dtype, tensor.elements());
      WAN_CHECK(offsets[i] <= data.size() && size <= data.size() - offsets[i], kBadFile,
                "[{}: tensor {}] expected {} bytes at {} of the {} bytes of data; {}", file_,
                quote_name(tensor.name), size, offsets[i], data.size(), kDamaged);
      tensor.storage = data.subspan(static_cast<std::size_t>(offsets[i]), size);
    }
    check_overlaps();
  }

  /// Bytes that two tensors share are never what a writer meant.
  void check_overlaps() const {
    std::vector<const TensorEntry*> placed;
    for (const TensorEntry& tensor : result_.tensors)
      if (!tensor.storage.empty()) placed.push_back(&tensor);
    std::ranges::sort(placed, {}, [](const TensorEntry* tensor) { return tensor->storage.data(); });
    for (std::size_t i = 1; i < placed.size(); ++i)
      WAN_CHECK(placed[i - 1]->storage.data() + placed[i - 1]->storage.size() <= placed[i]->storage.data(),
                kBadFile, "[{}] the tensors {} and {} overlap; {}", file_, quote_name(placed[i - 1]->name),
                quote_name(placed[i]->name), kDamaged);
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::string where_;
  ByteReader reader_;
  std::set<std::string> keys_;
  std::map<std::string, std::vector<std::int64_t>> original_shapes_;
  CheckpointFile result_;
  bool keeps_lists_ = false;
  GgufLists lists_;
};

constexpr std::size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";

/// Number and count of "-00002-of-00003" at the end of a name without its extension.
std::optional<std::pair<int, int>> part_of(std::string_view stem) {
  const std::size_t length = 1 + kDigits + kOf.size() + kDigits;
  if (stem.size() < length) return std::nullopt;
  const std::string_view end = stem.substr(stem.size() - length);
  if (end[0] != '-' || end.substr(1 + kDigits, kOf.size()) != kOf) return std::nullopt;
  std::pair<int, int> part{0, 0};
  const auto read = [](std::string_view digits, int& value) {
    const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && last == digits.data() + digits.size() && value > 0;
  };
  if (!read(end.substr(1, kDigits), part.first) || !read(end.substr(length - kDigits), part.second))
    return std::nullopt;
  return part;
}

}  // namespace

CheckpointFile parse_gguf(std::span<const std::byte> bytes, const std::string& file) {
  return GgufReader(bytes, file).read();
}

GgufLists parse_gguf_lists(std::span<const std::byte> bytes, const std::string& file) {
  return GgufReader(bytes, file).read_lists();
}

std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& file) {
  const std::string stem = file.stem().string();
  const auto part = file.extension() == ".gguf" ? part_of(stem) : std::nullopt;
  if (!part) return {file};
  const std::string name = stem.substr(0, stem.size() - (1 + kDigits + kOf.size() + kDigits));
  std::vector<std::filesystem::path> files;
  for (int i = 1; i <= part->second; ++i)
    files.push_back(file.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name, i, part->second));
  return files;
}

void check_gguf_parts(const std::vector<CheckpointFile>& parts, const std::string& file) {
  const auto value = [](const CheckpointFile& part, const char* key) {
    const auto found = part.metadata.find(key);
    return found != part.metadata.end() ? found->second : std::string();
  };
  if (parts.size() == 1 && value(parts[0], "split.count").empty()) return;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string count = value(parts[i], "split.count");
    WAN_CHECK(count == std::to_string(parts.size()) && value(parts[i], "split.no") == std::to_string(i),
              kBadFile,
              "[{}] part {} of {} says that it is part {} of {}, counted from 0; name one of the parts as "
              "they were "
              "downloaded (NAME-00001-of-00002.gguf), with the others beside it",
              file, i, parts.size(), quote_name(value(parts[i], "split.no")), quote_name(count));
  }
}

}  // namespace wan
