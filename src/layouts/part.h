#pragma once
// A part of a checkpoint, told by the names and shapes of its tensors alone: which model it is of, who named them, and the same tensors
// under their official names.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "weights/checkpoint.h"

namespace wan {

enum class PartKind { kTransformer, kTextEncoder, kVae, kAudioEncoder, kImageEncoder, kLora, kOther };

/// "transformer", "text encoder", for a message.
const char* part_kind_name(PartKind kind);

struct PartFacts {
  PartKind kind = PartKind::kOther;
  /// What a person calls it: "expert of Wan2.2-T2V-A14B (or Wan2.1-T2V-14B)", "VAE of Wan2.1", "umT5 text encoder"; of other models what is
  /// known of them: "VACE transformer". Empty for what nobody knows.
  std::string family;
  /// Whose names its tensors have: "official", "diffusers", "transformers", "llama.cpp"; empty where it is no part.
  std::string naming;
  /// What stands before every name: "model.diffusion_model."; mostly empty.
  std::string prefix;
  /// Of a transformer: "t2v", "i2v", "ti2v", "s2v", "animate", as config.json says it; empty for one that no task of Wan2.2 has. Of a VAE: "vae21"
  /// or "vae22".
  std::string model_type;
  /// "17 Q8_0, 40 F32": how many tensors are held in what, the most bytes first.
  std::string format;
};

PartFacts recognize_part(const Checkpoint& checkpoint);

/// The checkpoint with official names and tensors (with_made_tensors()), `facts` its own. What is no weight (a text encoder's
/// "spiece_model", its embedding's second name) is left out. Throws Unsupported where diffusers has joined several weights to one.
Checkpoint with_official_names(const Checkpoint& checkpoint, const PartFacts& facts);

/// Opens a file or folder as Checkpoint::open does, with official names. Throws what that throws, and BadFile or Unsupported for a part
/// of another kind or of a model that no task has, saying what it is.
Checkpoint open_part(const std::filesystem::path& path, PartKind kind);

/// The SentencePiece model in a text encoder's own file, as ComfyUI's have it; empty where there is none. As long as a copy of the
/// checkpoint lives.
std::span<const std::byte> tokenizer_within(const Checkpoint& checkpoint);

/// What a file's name says of the expert that it holds: "high", "low"; empty for neither or both. "HighNoise", "high_noise", "-H-".
std::string_view expert_in_name(std::string_view file_name);

}  // namespace wan
