#pragma once
// Video files read back with FFmpeg's libraries, and turned into RGB by arithmetic of our own.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace wan::test {

struct DecodedVideo {
  std::string codec;
  std::string pixel_format;
  int width = 0;
  int height = 0;
  std::array<int, 2> rate{};                                                    // average, as a fraction
  double seconds = 0;                                                           // the container's duration
  int range = 0, matrix = 0, primaries = 0, transfer = 0, chroma_location = 0;  // AVCOL_..., of the stream
  std::map<std::string, std::string> metadata;
  std::vector<double> times;                                  // of each frame, seconds
  std::vector<std::array<std::vector<std::uint8_t>, 3>> yuv;  // a frame: Y [H, W], U and V [H/2, W/2]
};

/// A test failure, and what was read so far, when the file is not a whole video, alone or with one sound.
DecodedVideo read_video(const std::filesystem::path& path);

struct DecodedSound {
  std::string codec;
  int rate = 0;
  int channels = 0;
  double begins = 0;           // seconds, of the first sample
  double seconds = 0;          // until it ends, as the file says: a decoder gives the last block whole
  std::vector<float> samples;  // of the first channel
};

/// The sound beside a video; likewise.
DecodedSound read_sound(const std::filesystem::path& path);

/// In the order of a file's packets, the largest difference in seconds between a packet of its video and the one of its sound
/// before it or after it.
double largest_gap(const std::filesystem::path& path);

/// RGB in 0..255 (unrounded, unclamped) of one limited-range YUV triple. `kr`, `kb`: the matrix's luma
/// weights (BT.709: 0.2126, 0.0722; BT.601: 0.299, 0.114).
std::array<double, 3> yuv_to_rgb(double y, double u, double v, double kr, double kb);

}  // namespace wan::test
