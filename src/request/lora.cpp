#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "wan/engine.h"

namespace wan {

namespace {

/// The number that all of the text is.
std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

LoraFile parse_lora(const std::string& text) {
  LoraFile lora;
  std::string rest = text;
  for (const char* expert : {"high", "low"}) {
    const std::string end = std::string("@") + expert;
    if (!rest.ends_with(end)) continue;
    lora.expert = expert;
    rest.resize(rest.size() - end.size());
    break;
  }
  if (const std::size_t colon = rest.rfind(':'); colon != std::string::npos)
    if (const auto strength = number_of(std::string_view(rest).substr(colon + 1))) {
      lora.strength = *strength;
      rest.resize(colon);
    }
  WAN_CHECK(!rest.empty(), kInvalidArgument,
            "`lora` {}: expected FILE, FILE:STRENGTH or either with @high or @low, such as "
            "style.safetensors:0.8@high",
            shortened(text));
  lora.file = rest;
  return lora;
}

std::string format_lora(const LoraFile& lora) {
  return fmt::format("{}{}{}{}", lora.file.string(),
                     lora.strength == 1 ? std::string() : fmt::format(":{}", lora.strength),
                     lora.expert.empty() ? "" : "@", lora.expert);
}

}  // namespace wan
