#include "weights/pth.h"

#include <algorithm>
#include <set>

#include "base/checked_math.h"
#include "base/untrusted_text.h"
#include "weights/byte_reader.h"
#include "weights/pickle.h"
#include "weights/zip_directory.h"

namespace wan {

namespace {

// Names join the keys of nested dictionaries: bounds for files that nest without end.
constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::size_t kMaxTensors = 1u << 16;
constexpr std::size_t kMaxVisited = 1u << 22;  // items looked at; a container may be shared by many

using ZipEntries = std::map<std::string, std::span<const std::byte>>;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "archive/": the one folder in which data.pkl stands.
std::string find_archive_folder(const ZipEntries& entries, const std::string& file) {
  constexpr std::string_view kPickleName = "/data.pkl";
  std::string folder;
  for (const auto& [name, bytes] : entries) {
    const bool is_pickle = name.ends_with(kPickleName) && name.find('/') == name.size() - kPickleName.size();
    if (!is_pickle) continue;
    WAN_CHECK(folder.empty(), kBadFile, "[{}] expected one data.pkl in the archive, got several; {}", file,
              kDamaged);
    folder = name.substr(0, name.size() - kPickleName.size() + 1);
  }
  WAN_CHECK(
      !folder.empty(), kBadFile,
      "[{}] the zip archive holds no data.pkl: expected a file written by torch.save; name a .pth checkpoint",
      file);
  return folder;
}

class TensorCollector {
 public:
  TensorCollector(const Pickle& pickle, const ZipEntries& entries, std::string folder,
                  const std::string& file)
      : pickle_(pickle), entries_(entries), folder_(std::move(folder)), file_(file) {}

  std::vector<TensorEntry> collect() {
    walk(state_dict(), "", 0);
    WAN_CHECK(!tensors_.empty(), kBadFile,
              "[{}] holds no tensors: expected a dictionary of tensors, as torch.save(model.state_dict(), "
              "...) writes",
              file_);
    return std::move(tensors_);
  }

 private:
  // Training scripts wrap the weights; the rest of such a file is of no use here.
  PickleRef state_dict() const {
    const PickleValue& root = pickle_[pickle_.root()];
    if (root.kind != PickleKind::kDict) return pickle_.root();
    for (const std::string_view wrapper : {"state_dict", "model"})
      for (std::size_t i = 0; i + 1 < root.items.size(); i += 2)
        if (pickle_[root.items[i]].kind == PickleKind::kString && pickle_[root.items[i]].text == wrapper &&
            pickle_[root.items[i + 1]].kind == PickleKind::kDict)
          return root.items[i + 1];
    return pickle_.root();
  }

  void walk(PickleRef ref, const std::string& name, int depth) {
    visited_ += 1 + pickle_[ref].items.size();
    WAN_CHECK(depth <= kMaxDepth && visited_ <= kMaxVisited, kBadFile,
              "[{}] containers are nested too deeply (at most {} levels), or shared without end; "
              "torch.save(model.state_dict(), ...) writes a flat dictionary",
              file_, kMaxDepth);
    const PickleValue& value = pickle_[ref];
    if (value.kind == PickleKind::kTensor) {
      add(value, name);
    } else if (value.kind == PickleKind::kDict) {
      for (std::size_t i = 0; i + 1 < value.items.size(); i += 2)
        if (const PickleKind kind = pickle_[value.items[i + 1]].kind; has_tensors(kind))
          walk(value.items[i + 1], joined(name, key_text(pickle_[value.items[i]])), depth + 1);
    } else if (value.kind == PickleKind::kList || value.kind == PickleKind::kTuple) {
      for (std::size_t i = 0; i < value.items.size(); ++i)
        if (has_tensors(pickle_[value.items[i]].kind))
          walk(value.items[i], joined(name, std::to_string(i)), depth + 1);
    }
  }

  static bool has_tensors(PickleKind kind) {
    return kind == PickleKind::kTensor || kind == PickleKind::kDict || kind == PickleKind::kList ||
           kind == PickleKind::kTuple;
  }

  std::string key_text(const PickleValue& key) const {
    if (key.kind == PickleKind::kInt) return std::to_string(key.integer);
    WAN_CHECK(key.kind == PickleKind::kString, kBadFile,
              "[{}] a dictionary's key is neither text nor a number; {}", file_, kDamaged);
    return std::string(key.text);
  }

  std::string joined(const std::string& name, const std::string& key) const {
    WAN_CHECK(name.size() + key.size() < kMaxNameBytes, kBadFile,
              "[{}] a tensor's name is longer than {} bytes; {}", file_, kMaxNameBytes, kDamaged);
    return name.empty() ? key : name + "." + key;
  }

  Shape shape_from(PickleRef tuple, const char* what, const std::string& where) const {
    std::vector<std::int64_t> extents;
    for (const PickleRef item : pickle_[tuple].items) {
      WAN_CHECK(extents.size() < Shape::kMaxRank, kBadFile, "[{}] expected at most {} dimensions", where,
                Shape::kMaxRank);
      extents.push_back(pickle_[item].integer);
      WAN_CHECK(extents.back() >= 0, kBadFile, "[{}] a {} is negative; {}", where, what, kDamaged);
    }
    return Shape(std::span<const std::int64_t>(extents));
  }

  std::span<const std::byte> storage_bytes(const PickleValue& storage, const std::string& where) const {
    const auto found = entries_.find(folder_ + "data/" + std::string(storage.text));
    WAN_CHECK(found != entries_.end(), kBadFile, "[{}] its storage {} is not in the archive; {}", where,
              quote_name(storage.text), kDamaged);
    const auto bytes = checked_mul(static_cast<std::uint64_t>(storage.integer),
                                   static_cast<std::uint64_t>(dtype_size(storage.dtype)), where.c_str(),
                                   ErrorCode::kBadFile);
    WAN_CHECK(bytes == found->second.size(), kBadFile, "[{}] expected {} bytes in storage {}, got {}; {}",
              where, bytes, quote_name(storage.text), found->second.size(), kDamaged);
    return found->second;
  }

  void add(const PickleValue& tensor, const std::string& name) {
    const std::string where = file_ + ": tensor " + quote_name(name);
    WAN_CHECK(!name.empty(), kBadFile, "[{}] expected a dictionary of named tensors, got one bare tensor",
              file_);
    WAN_CHECK(names_.insert(name).second, kBadFile, "[{}] stands twice; {}", where, kDamaged);
    WAN_CHECK(tensors_.size() < kMaxTensors, kBadFile, "[{}] more than {} tensors; {}", file_, kMaxTensors,
              kDamaged);
    const PickleValue& storage = pickle_[tensor.items[0]];
    const std::span<const std::byte> bytes = storage_bytes(storage, where);
    const Shape shape = shape_from(tensor.items[1], "size", where);
    const Shape strides = shape_from(tensor.items[2], "stride", where);
    const auto elements = checked_product(shape.extents(), where.c_str(), ErrorCode::kBadFile);
    std::span<const std::byte> used;
    if (elements > 0) {
      std::int64_t extent = 1;  // elements from the first one to the last one, inclusive
      for (int i = 0; i < shape.rank(); ++i)
        extent =
            checked_add(extent, checked_mul(shape[i] - 1, strides[i], where.c_str(), ErrorCode::kBadFile),
                        where.c_str(), ErrorCode::kBadFile);
      WAN_CHECK(tensor.integer >= 0 && tensor.integer <= storage.integer &&
                    extent <= storage.integer - tensor.integer,
                kBadFile,
                "[{}] {} with strides {} at offset {} does not fit the {} elements of its storage; {}", where,
                shape.to_string(), strides.to_string(), tensor.integer, storage.integer, kDamaged);
      // Keeps a tensor's size within the file's: a view that repeats elements could claim any size.
      WAN_CHECK(elements <= extent, kUnsupported,
                "[{}] {} with strides {} repeats elements of its storage; save a contiguous() copy", where,
                shape.to_string(), strides.to_string());
      const std::size_t size = dtype_size(tensor.dtype);
      used = bytes.subspan(static_cast<std::size_t>(tensor.integer) * size,
                           static_cast<std::size_t>(extent) * size);
    }
    tensors_.push_back({name, tensor.dtype, shape, strides, used, file_});
    WAN_CHECK(!is_packed(tensor.dtype) || tensors_.back().view().is_contiguous(), kUnsupported,
              "[{}] {} with strides {} of codes; save a contiguous() copy", where, shape.to_string(),
              strides.to_string());
  }

  const Pickle& pickle_;
  const ZipEntries& entries_;
  std::string folder_;
  const std::string& file_;
  std::set<std::string> names_;
  std::vector<TensorEntry> tensors_;
  std::size_t visited_ = 0;
};

}  // namespace

CheckpointFile parse_pth(std::span<const std::byte> bytes, const std::string& file) {
  // torch.save before 1.6 begins with a bare pickle, protocol 2 or later.
  WAN_CHECK(bytes.empty() || bytes[0] != std::byte{0x80}, kUnsupported,
            "[{}] is in torch.save's format before PyTorch 1.6; load it in PyTorch and save it again with "
            "torch.save, "
            "whose zip format is the default now",
            file);
  const ZipEntries entries = read_stored_zip(bytes, file);
  const std::string folder = find_archive_folder(entries, file);
  WAN_CHECK(!entries.contains(folder + "constants.pkl"), kUnsupported,
            "[{}] is a TorchScript program; save its state_dict() with torch.save", file);
  if (const auto order = entries.find(folder + "byteorder"); order != entries.end())
    WAN_CHECK(as_text(order->second) == "little", kUnsupported,
              "[{}] expected byte order little, got {}; save it again on a little-endian machine", file,
              quote_name(as_text(order->second)));
  const Pickle pickle = Pickle::parse(entries.at(folder + "data.pkl"), file);
  return {TensorCollector(pickle, entries, folder, file).collect(), {}};
}

}  // namespace wan
