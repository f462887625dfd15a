#include "weights/zip_directory.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/untrusted_text.h"
#include "weights/byte_reader.h"

namespace wan {

namespace {

// Signatures and field orders: PKWARE APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3.
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocator64Signature = 0x07064b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::uint16_t kZip64Field = 0x0001;
constexpr std::uint32_t kInZip64 = 0xffffffff;  // "see the zip64 field"

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
};

struct CentralEntry {
  std::string name;
  std::uint64_t size = 0;
  std::uint64_t local_offset = 0;
};

std::uint32_t peek_u32(std::span<const std::byte> bytes, std::size_t at, const std::string& where) {
  return ByteReader(bytes.subspan(at), where).u32();
}

// The end record stands last, before a comment of at most 65,535 bytes whose length it states.
std::size_t find_end_record(std::span<const std::byte> bytes, const std::string& where) {
  WAN_CHECK(bytes.size() >= kEndBytes, kBadFile, "[{}] {} bytes are too few for a zip archive; {}", where,
            bytes.size(), kDamaged);
  const std::size_t last = bytes.size() - kEndBytes;
  const std::size_t first = last > 0xffff ? last - 0xffff : 0;
  for (std::size_t at = last + 1; at-- > first;) {
    if (peek_u32(bytes, at, where) != kEndSignature) continue;
    ByteReader comment_length(bytes.subspan(at + 20), where);
    if (at + kEndBytes + comment_length.u16() == bytes.size()) return at;
  }
  fail(ErrorCode::kBadFile, "[{}] no end-of-archive record; {}", where, kDamaged);
}

void check_one_disk(bool one_disk, const std::string& where) {
  WAN_CHECK(one_disk, kUnsupported, "[{}] the archive spans several disks; save it again with torch.save",
            where);
}

Directory read_directory_record(std::span<const std::byte> bytes, const std::string& where) {
  const std::size_t end = find_end_record(bytes, where);
  Directory directory;
  std::uint64_t directory_limit = end;
  if (end >= kLocator64Bytes && peek_u32(bytes, end - kLocator64Bytes, where) == kLocator64Signature) {
    ByteReader locator(bytes.subspan(end - kLocator64Bytes + 4), where);
    check_one_disk(locator.u32() == 0, where);
    const std::uint64_t record_offset = locator.u64();
    check_one_disk(locator.u32() <= 1, where);
    WAN_CHECK(record_offset <= end - kLocator64Bytes, kBadFile, "[{}] zip64 record out of bounds; {}", where,
              kDamaged);
    ByteReader record(bytes.subspan(static_cast<std::size_t>(record_offset)), where);
    WAN_CHECK(record.u32() == kEnd64Signature, kBadFile, "[{}] no zip64 record where one is announced; {}",
              where, kDamaged);
    record.take(8 + 2 + 2);  // size of this record, versions
    const bool first_disk = record.u32() == 0 && record.u32() == 0;
    directory.entries = record.u64();
    check_one_disk(first_disk && directory.entries == record.u64(), where);
    directory.size = record.u64();
    directory.offset = record.u64();
    directory_limit = record_offset;
  } else {
    ByteReader record(bytes.subspan(end + 4), where);
    const bool first_disk = record.u16() == 0 && record.u16() == 0;
    directory.entries = record.u16();
    check_one_disk(first_disk && directory.entries == record.u16(), where);
    directory.size = record.u32();
    directory.offset = record.u32();
  }
  WAN_CHECK(directory.offset <= directory_limit && directory.size <= directory_limit - directory.offset,
            kBadFile, "[{}] the central directory is out of bounds; {}", where, kDamaged);
  return directory;
}

// Replaces the fields that say "see the zip64 field", in the order the format gives them.
void apply_zip64_field(std::span<const std::byte> extra, std::uint64_t& size, std::uint64_t& packed_size,
                       std::uint64_t& local_offset, const std::string& where) {
  ByteReader fields(extra, where);
  while (fields.remaining() >= 4) {
    const std::uint16_t id = fields.u16();
    const std::uint16_t length = fields.u16();
    ByteReader field(fields.take(length), where);
    if (id != kZip64Field) continue;
    if (size == kInZip64) size = field.u64();
    if (packed_size == kInZip64) packed_size = field.u64();
    if (local_offset == kInZip64) local_offset = field.u64();
    return;
  }
}

CentralEntry read_central_entry(ByteReader& reader, const std::string& where) {
  WAN_CHECK(reader.u32() == kCentralSignature, kBadFile, "[{}] malformed central directory; {}", where,
            kDamaged);
  reader.take(2 + 2);  // versions
  const std::uint16_t flags = reader.u16();
  const std::uint16_t method = reader.u16();
  reader.take(2 + 2 + 4);  // time, date, CRC
  std::uint64_t packed_size = reader.u32();
  CentralEntry entry;
  entry.size = reader.u32();
  const std::uint16_t name_length = reader.u16();
  const std::uint16_t extra_length = reader.u16();
  const std::uint16_t comment_length = reader.u16();
  reader.take(2 + 2 + 4);  // disk, attributes
  entry.local_offset = reader.u32();
  entry.name = reader.text(name_length);
  apply_zip64_field(reader.take(extra_length), entry.size, packed_size, entry.local_offset, where);
  reader.take(comment_length);
  WAN_CHECK((flags & 1u) == 0, kUnsupported, "[{}] entry {} is encrypted; save it again with torch.save",
            where, quote_name(entry.name));
  WAN_CHECK(
      method == 0, kUnsupported,
      "[{}] entry {} is compressed, which torch.save never does; unpack it and save it again with torch.save",
      where, quote_name(entry.name));
  WAN_CHECK(entry.size == packed_size, kBadFile, "[{}] entry {} has two sizes, {} and {}; {}", where,
            quote_name(entry.name), entry.size, packed_size, kDamaged);
  return entry;
}

// The entry's bytes: after its local header, whose name must agree and whose padding aligns the data.
std::span<const std::byte> locate(const CentralEntry& entry, std::span<const std::byte> before_directory,
                                  const std::string& where) {
  WAN_CHECK(entry.local_offset <= before_directory.size(), kBadFile, "[{}] entry {} is out of bounds; {}",
            where, quote_name(entry.name), kDamaged);
  ByteReader reader(before_directory.subspan(static_cast<std::size_t>(entry.local_offset)), where);
  WAN_CHECK(reader.u32() == kLocalSignature, kBadFile, "[{}] entry {} has no local header; {}", where,
            quote_name(entry.name), kDamaged);
  reader.take(22);  // repeated in the central directory
  const std::uint16_t name_length = reader.u16();
  const std::uint16_t extra_length = reader.u16();
  WAN_CHECK(reader.text(name_length) == entry.name, kBadFile,
            "[{}] entry {} has another name in its header; {}", where, quote_name(entry.name), kDamaged);
  reader.take(extra_length);
  return reader.take(entry.size);
}

}  // namespace

std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> bytes,
                                                                  const std::string& file) {
  const std::string where = file + ": zip archive";
  const Directory directory = read_directory_record(bytes, where);
  const auto before_directory = bytes.first(static_cast<std::size_t>(directory.offset));
  ByteReader reader(bytes.subspan(before_directory.size(), static_cast<std::size_t>(directory.size)), where);

  std::map<std::string, std::span<const std::byte>> entries;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // [local header, end of data)
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const CentralEntry entry = read_central_entry(reader, where);
    const auto data = locate(entry, before_directory, where);
    extents.emplace_back(entry.local_offset,
                         static_cast<std::uint64_t>(data.data() - bytes.data()) + data.size());
    if (entry.name.ends_with('/')) continue;
    WAN_CHECK(entries.emplace(entry.name, data).second, kBadFile, "[{}] entry {} stands twice; {}", where,
              quote_name(entry.name), kDamaged);
  }
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i)
    WAN_CHECK(extents[i - 1].second <= extents[i].first, kBadFile, "[{}] entries overlap; {}", where,
              kDamaged);
  return entries;
}

}  // namespace wan
