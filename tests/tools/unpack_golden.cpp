// Makes the folder of golden files that tests read of the one that is tracked: a copy, in which FILE.seeded is FILE again. What is in a .seeded
// file, and how it is made: tools/golden/seeded.py.
//
// usage: unpack_golden FROM TO

#include <zlib.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numbers>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 16;

struct Draw {
  std::size_t offset = 0, count = 0;  // bytes from the file's start; values
  std::string dtype;
  std::uint32_t seed = 0;
  std::uint64_t skip = 0;  // words of the generator
  double mean = 0.0, deviation = 0.0;

  std::size_t value_size() const { return dtype == "F32" ? 4 : 2; }
};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw std::runtime_error("cannot be read");
  return bytes;
}

std::string inflated(const std::string& packed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw std::runtime_error("zlib does not start");
  std::string bytes;
  std::array<char, 1 << 16> piece{};
  std::string input = packed;  // zlib's pointer is to what it may write
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = inflate(&stream, Z_NO_FLUSH);
    bytes.append(piece.data(), piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END) throw std::runtime_error("is no whole zlib stream");
  return bytes;
}

// As torch.randn(count), count >= 16, makes them of a generator's words, but in fp64.
std::vector<double> normals(const Draw& draw) {
  std::mt19937 engine(draw.seed);
  engine.discard(draw.skip);
  std::vector<double> values(draw.count);
  const auto fill = [&](double* block) {
    std::array<double, kBlock> words{};
    for (double& word : words) word = static_cast<double>(engine() & 0xFFFFFFU) * 0x1p-24;
    for (std::size_t i = 0; i < kBlock / 2; ++i) {
      const double radius = std::sqrt(-2.0 * std::log(1.0 - words[i]));
      const double angle = 2.0 * std::numbers::pi * words[i + kBlock / 2];
      block[i] = radius * std::cos(angle);
      block[i + kBlock / 2] = radius * std::sin(angle);
    }
  };
  const std::size_t whole = draw.count / kBlock * kBlock;
  for (std::size_t i = 0; i < whole; i += kBlock) fill(values.data() + i);
  if (whole == draw.count) return values;
  engine.discard(draw.count - whole);
  fill(values.data() + draw.count - kBlock);
  return values;
}

std::uint32_t half_bits(float value) {
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(value) >> 16 & 0x8000U;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude < 0x1p-14) return sign | static_cast<std::uint32_t>(std::nearbyint(magnitude * 0x1p24));
  int exponent = 0;
  const double fraction = std::frexp(magnitude, &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<std::uint32_t>(std::nearbyint(fraction * 0x1p11));
  return sign | ((static_cast<std::uint32_t>(exponent + 14) << 10) + (mantissa - 0x400U));
}

std::uint32_t bits_of(double value, std::string_view dtype) {
  const auto single = static_cast<float>(value);
  if (dtype == "F16") return half_bits(single);
  const auto bits = std::bit_cast<std::uint32_t>(single);
  return dtype == "F32" ? bits : (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
}

std::string unpacked(const std::string& packed) {
  std::istringstream text(inflated(packed));
  std::string magic;
  std::size_t size = 0, count = 0;
  unsigned long checksum = 0;
  int version = 0;
  text >> magic >> version >> size >> checksum >> count;
  if (magic != "seeded" || version != 1) throw std::runtime_error("begins with no line of a seeded file");
  std::vector<Draw> draws(count);
  for (Draw& draw : draws)
    text >> draw.offset >> draw.count >> draw.dtype >> draw.seed >> draw.skip >> draw.mean >> draw.deviation;
  text.get();  // the line's end

  const auto byte = [&text] {
    const int value = text.get();
    if (!text) throw std::runtime_error("ends early");
    return static_cast<std::uint64_t>(value);
  };
  std::string bytes(size, '\0');
  std::vector<bool> made(size);
  for (const Draw& draw : draws) {
    if (draw.count < kBlock || draw.offset + draw.count * draw.value_size() > size)
      throw std::runtime_error("has a draw outside the file");
    std::size_t at = draw.offset;
    for (const double normal : normals(draw)) {
      std::uint64_t zigzag = 0, next = 0x80;
      for (unsigned shift = 0; (next & 0x80U) != 0; shift += 7) zigzag |= ((next = byte()) & 0x7FU) << shift;
      const std::uint64_t difference = zigzag >> 1 ^ (~(zigzag & 1) + 1);
      const auto bits =
          static_cast<std::uint32_t>(bits_of(draw.mean + draw.deviation * normal, draw.dtype) + difference);
      for (std::size_t i = 0; i < draw.value_size(); ++i, ++at) {
        bytes[at] = static_cast<char>(bits >> 8 * i & 0xFFU);
        made[at] = true;
      }
    }
  }
  for (std::size_t at = 0; at < size; ++at)
    if (!made[at]) bytes[at] = static_cast<char>(byte());
  const auto* begin = reinterpret_cast<const Bytef*>(bytes.data());
  if (crc32(0, begin, static_cast<uInt>(size)) != checksum)
    throw std::runtime_error("gives other bytes than were packed");
  return bytes;
}

void make(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(from)) {
    fs::path target = to / entry.path().lexically_relative(from);
    try {
      if (entry.is_symlink()) {
        fs::copy_symlink(entry.path(), target);
      } else if (entry.is_directory()) {
        fs::create_directory(target);
      } else if (target.extension() != ".seeded") {
        fs::copy_file(entry.path(), target);
      } else {
        std::ofstream file(target.replace_extension(), std::ios::binary);
        file << unpacked(read(entry.path()));
        if (!file.flush()) throw std::runtime_error("cannot be written unpacked");
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(entry.path().string() + ": " + error.what());
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::cerr << "usage: unpack_golden FROM TO\n";
    return 2;
  }
  try {
    make(arguments[1], arguments[2]);
  } catch (const std::exception& error) {
    std::cerr << "unpack_golden: " << error.what() << "\n";
    return 1;
  }
}
