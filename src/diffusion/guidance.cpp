#include "diffusion/guidance.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "diffusion/scheduler.h"

namespace wan {

namespace {

double parse_number(std::string_view text, std::string_view whole) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  WAN_CHECK(error == std::errc() && end == text.data() + text.size() && std::isfinite(value),
            kInvalidArgument,
            "[guidance] expected a guidance scale such as 5 or 3.0,4.0 (low noise, high noise), got \"{}\"; "
            "give one "
            "number, or two with a comma and no space",
            whole);
  return value;
}

}  // namespace

const char* expert_name(Expert expert) {
  return expert == Expert::kHighNoise ? "high_noise" : "low_noise";
}

GuidanceScale parse_guidance_scale(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) {
    const double both = parse_number(text, text);
    return {both, both};
  }
  return {parse_number(text.substr(0, comma), text), parse_number(text.substr(comma + 1), text)};
}

std::string format_guidance_scale(const GuidanceScale& scale) {
  if (scale.low_noise == scale.high_noise) return fmt::format("{}", scale.low_noise);
  return fmt::format("{},{}", scale.low_noise, scale.high_noise);
}

Guidance::Guidance(const GuidanceScale& scale, std::optional<double> boundary)
    : scale_(scale), boundary_(boundary) {
  WAN_CHECK(std::isfinite(scale.low_noise) && std::isfinite(scale.high_noise), kInvalidArgument,
            "[guidance] expected finite guidance scales, got {} and {}; 3 to 5 are usual", scale.low_noise,
            scale.high_noise);
  WAN_CHECK(
      !boundary || (*boundary > 0.0 && *boundary <= 1.0), kInvalidArgument,
      "[guidance] expected a boundary above 0 and up to 1, got {}; T2V-A14B uses 0.875 and I2V-A14B 0.9",
      *boundary);
}

Expert Guidance::expert(std::int64_t timestep) const {
  const bool high = boundary_ && static_cast<double>(timestep) >= *boundary_ * Scheduler::kTrainTimesteps;
  return high ? Expert::kHighNoise : Expert::kLowNoise;
}

double Guidance::scale(std::int64_t timestep) const {
  return expert(timestep) == Expert::kHighNoise ? scale_.high_noise : scale_.low_noise;
}

bool Guidance::needs_unconditional(std::int64_t timestep) const {
  return scale(timestep) != 1.0;
}

GuidanceCoefficients Guidance::coefficients(std::int64_t timestep) const {
  const double conditional = scale(timestep);
  return {conditional, 1.0 - conditional};
}

}  // namespace wan
