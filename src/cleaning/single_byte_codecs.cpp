#include "cleaning/single_byte_codecs.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/unicode.h"

namespace wan {
namespace {

#include "cleaning/tables/single_byte_codecs.inc"

constexpr char kLostCharacterByte = 0x1A;
constexpr std::size_t kCodecCount = std::size(kSingleByteCodecs);
constexpr std::size_t kWindows1252 = 1;

using ReverseTable = std::array<std::pair<char16_t, unsigned char>, 128>;

const ReverseTable& reverse_table(const SingleByteCodec& codec) {
  static const auto tables = [] {
    std::array<ReverseTable, kCodecCount> all;
    for (std::size_t c = 0; c < kCodecCount; ++c) {
      for (std::size_t i = 0; i < 128; ++i)
        all[c][i] = {kSingleByteCodecs[c].high[i], static_cast<unsigned char>(0x80 + i)};
      std::sort(all[c].begin(), all[c].end());
    }
    return all;
  }();
  return tables[static_cast<std::size_t>(&codec - kSingleByteCodecs)];
}

}  // namespace

std::span<const SingleByteCodec> single_byte_codecs() {
  return kSingleByteCodecs;
}

std::optional<std::string> encode_single_byte(const SingleByteCodec& codec, std::u32string_view text) {
  const ReverseTable& reverse = reverse_table(codec);
  const bool sloppy = codec.kind == CodecKind::kSloppy;
  std::string out;
  out.reserve(text.size());
  for (char32_t c : text) {
    if (c < 0x80 && !(sloppy && c == kLostCharacterByte)) {
      out.push_back(static_cast<char>(c));
      continue;
    }
    if (sloppy && c == kReplacementCharacter) {
      out.push_back(kLostCharacterByte);
      continue;
    }
    if (c > 0xFFFF) return std::nullopt;
    const auto found = std::lower_bound(reverse.begin(), reverse.end(),
                                        std::pair<char16_t, unsigned char>(static_cast<char16_t>(c), 0));
    if (found == reverse.end() || found->first != c) return std::nullopt;
    out.push_back(static_cast<char>(found->second));
  }
  return out;
}

char32_t windows_1252_for_c1(char32_t c1_control) {
  return kSingleByteCodecs[kWindows1252].high[c1_control - 0x80];
}

}  // namespace wan
