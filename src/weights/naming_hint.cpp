#include "weights/naming_hint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "base/untrusted_text.h"

namespace wan {

namespace {

struct KnownNaming {
  std::string_view part;  // stands in some unused name
  std::string_view hint;
};

constexpr std::array kKnown{
    KnownNaming{"lora_", "this is a LoRA, an addition to a model: name the base model's folder"},
    KnownNaming{"condition_embedder.",
                "the names are those of diffusers: use the checkpoint in the official layout "
                "(Wan-AI/Wan2.2-T2V-A14B, without -Diffusers)"},
    KnownNaming{".attn1.to_q",
                "the names are those of diffusers: use the checkpoint in the official layout "
                "(Wan-AI/Wan2.2-T2V-A14B, without -Diffusers)"},
    KnownNaming{"SelfAttention.",
                "the names are those of transformers: use models_t5_umt5-xxl-enc-bf16.pth of the "
                "official checkpoint"},
    KnownNaming{"mid_block.",
                "the names are those of diffusers: use the VAE's .pth file of the official checkpoint"},
    KnownNaming{"scale_weight", "this is a scaled 8-bit copy: use the fp32, bf16 or fp16 checkpoint"},
    KnownNaming{"weight_scale", "this is a scaled 8-bit copy: use the fp32, bf16 or fp16 checkpoint"},
};

// The prefix that, put before missing names, gives unused ones; empty unless it explains most of them.
std::string extra_prefix(std::span<const std::string> missing, std::span<const std::string> unused) {
  std::map<std::string, std::size_t> votes;
  const std::set<std::string_view> wanted(missing.begin(), missing.end());
  for (const std::string& name : unused)
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      if (wanted.contains(std::string_view(name).substr(dot + 1))) ++votes[name.substr(0, dot + 1)];
  const auto best = std::max_element(votes.begin(), votes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return best != votes.end() && 2 * best->second >= missing.size() ? best->first : "";
}

}  // namespace

std::string naming_hint(std::span<const std::string> missing, std::span<const std::string> unused) {
  if (missing.empty()) return "";
  if (const std::string prefix = extra_prefix(missing, unused); !prefix.empty())
    return fmt::format(
        "every name begins with {}: a copy made by another program; use the official files, or save it "
        "again without that prefix",
        quote_name(prefix));
  for (const KnownNaming& known : kKnown)
    if (std::any_of(unused.begin(), unused.end(),
                    [&](const std::string& name) { return name.find(known.part) != std::string::npos; }))
      return std::string(known.hint);
  return "";
}

}  // namespace wan
