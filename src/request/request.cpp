#include "wan/request.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/untrusted_text.h"

namespace wan {

namespace {

template <typename T>
bool parse_whole(std::string_view text, T& value) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);  // as Python reads numbers
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

VideoSize parse_video_size(std::string_view text) {
  VideoSize size{};
  const std::size_t separator = text.find_first_of("*xX");
  const bool whole = separator != std::string_view::npos &&
                     parse_whole(text.substr(0, separator), size.width) &&
                     parse_whole(text.substr(separator + 1), size.height);
  WAN_CHECK(whole && size.width > 0 && size.height > 0, kInvalidArgument,
            "`size` {}: expected width*height in pixels, such as 832*480", shortened(text));
  return size;
}

std::string format_video_size(const VideoSize& size) {
  return fmt::format("{}*{}", size.width, size.height);
}

GuidanceScale parse_guidance_scale(std::string_view text) {
  GuidanceScale scale{};
  const std::size_t comma = text.find(',');
  bool whole = parse_whole(text.substr(0, comma), scale.low_noise);
  if (comma == std::string_view::npos) {
    scale.high_noise = scale.low_noise;
  } else {
    whole = whole && parse_whole(text.substr(comma + 1), scale.high_noise);
  }
  WAN_CHECK(whole && std::isfinite(scale.low_noise) && std::isfinite(scale.high_noise), kInvalidArgument,
            "`sample_guide_scale` {}: expected one number, or two as low,high, such as 3.0,4.0",
            shortened(text));
  return scale;
}

std::vector<double> parse_timesteps(std::string_view text) {
  std::vector<double> timesteps;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    double value = 0;
    WAN_CHECK(
        parse_whole(rest.substr(0, comma), value) && std::isfinite(value), kInvalidArgument,
        "`sample_timesteps` {}: expected numbers with commas between them, such as 1000,937.5,833.3,625",
        shortened(text));
    timesteps.push_back(value);
    if (comma == std::string_view::npos) return timesteps;
    rest.remove_prefix(comma + 1);
  }
}

std::string format_timesteps(const std::vector<double>& timesteps) {
  std::string text;
  for (const double timestep : timesteps) text += fmt::format("{}{}", text.empty() ? "" : ",", timestep);
  return text;
}

std::string format_guidance_scale(const GuidanceScale& scale) {
  if (scale.low_noise == scale.high_noise) return fmt::format("{}", scale.low_noise);
  return fmt::format("{},{}", scale.low_noise, scale.high_noise);
}

}  // namespace wan
