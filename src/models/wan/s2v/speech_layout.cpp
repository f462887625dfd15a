#include "models/wan/s2v/speech_layout.h"

#include "base/error.h"

namespace wan {

namespace {

constexpr std::int32_t kReferenceTime = 30;

/// Positions of `count` larger patches among `full`: from the first to the last, evenly. In f64 and rounded down as the official
/// code's, whose last one is exact.
std::vector<std::int32_t> sampled_positions(std::int64_t full, std::int64_t count) {
  std::vector<std::int32_t> positions;
  const double step = count > 1 ? static_cast<double>(full - 1) / static_cast<double>(count - 1) : 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool last = count > 1 && i == count - 1;
    positions.push_back(
        static_cast<std::int32_t>(last ? static_cast<double>(full - 1) : static_cast<double>(i) * step));
  }
  return positions;
}

/// frames x rows x columns positions, the columns fastest.
void add_grid(std::vector<TokenPosition>& positions, std::span<const std::int32_t> times,
              std::span<const std::int32_t> rows, std::span<const std::int32_t> columns) {
  for (const std::int32_t time : times)
    for (const std::int32_t row : rows)
      for (const std::int32_t column : columns) positions.push_back({time, row, column});
}

}  // namespace

TokenLayout speech_layout(const WanConfig& config, const Shape& latent, bool motion, int ranks, int rank) {
  const std::int64_t largest = std::int64_t{config.patch[1]} << 2;
  WAN_CHECK(latent[2] % largest == 0 && latent[3] % largest == 0, kInternal,
            "[speech_layout] latents of {} x {}, patches of up to {}", latent[2], latent[3], largest);
  const std::int64_t rows = latent[2] / config.patch[1];
  const std::int64_t columns = latent[3] / config.patch[2];
  const auto every_row = sampled_positions(rows, rows);
  const auto every_column = sampled_positions(columns, columns);
  std::vector<TokenPosition> positions;
  std::vector<std::int32_t> times;
  for (std::int64_t frame = 0; frame < latent[1]; ++frame) times.push_back(static_cast<std::int32_t>(frame));
  add_grid(positions, times, every_row, every_column);
  const auto video = static_cast<std::int64_t>(positions.size());
  times = {kReferenceTime};
  add_grid(positions, times, every_row, every_column);
  std::vector<TokenSegment> segments = {{"video", video, 0}, {"reference", rows * columns, 1}};
  if (motion) {
    for (int pack = 0; pack < 3; ++pack) {
      const MotionPack& frames = kMotionPacks[pack];
      times.clear();
      // Of a pack's frames the positions follow one another by 5 (16 frames over 4 patches, both ends kept).
      const std::int64_t patches = frames.latents >> pack;
      for (const std::int32_t after : sampled_positions(frames.latents, patches))
        times.push_back(frames.time + after);
      add_grid(positions, times, sampled_positions(rows, rows >> pack),
               sampled_positions(columns, columns >> pack));
    }
    segments.push_back({"motion", static_cast<std::int64_t>(positions.size()) - video - rows * columns, 1});
  }
  return TokenLayout(std::move(segments), std::move(positions), ranks, rank);
}

std::int64_t extra_speech_tokens(const WanConfig& config, const Shape& latent, bool motion) {
  const std::int64_t frame = latent[2] / config.patch[1] * (latent[3] / config.patch[2]);
  std::int64_t tokens = frame;
  if (motion)
    for (int pack = 0; pack < 3; ++pack)
      tokens += (kMotionPacks[pack].latents >> pack) * (frame >> (2 * pack));
  return tokens;
}

}  // namespace wan
