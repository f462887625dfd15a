// spiece.model: SentencePiece's ModelProto (sentencepiece_model.proto; the field numbers below are its), made
// into a tokenizer as transformers' T5 conversion does, so that the ids are those of the official code.

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "text/protobuf_reader.h"
#include "text/tokenizer_sources.h"
#include "text/unicode.h"

namespace wan {
namespace {

constexpr const char* kModelPlace = "spiece.model";

enum class PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
constexpr std::uint64_t kUnigramModelType = 1;

struct SpiecePiece {
  std::u32string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SpieceModel {
  std::vector<SpiecePiece> pieces;
  std::uint64_t model_type = kUnigramModelType;
  std::int64_t unknown_id = 0;
  std::string charsmap;
};

SpiecePiece read_piece(std::string_view bytes) {
  SpiecePiece piece;
  ProtobufReader reader(bytes, "spiece.model: pieces");
  while (reader.next()) {
    if (reader.field() == 1) {
      const auto text = utf8_to_u32(reader.bytes());
      WAN_CHECK(text, kBadFile, "[{}] expected pieces in UTF-8, got other bytes; replace the file",
                kModelPlace);
      piece.text = *text;
    } else if (reader.field() == 2) {
      piece.score = reader.float32();
    } else if (reader.field() == 3) {
      const std::uint64_t type = reader.varint();
      WAN_CHECK(type >= 1 && type <= 6, kBadFile,
                "[{}] expected a piece type from 1 to 6, got {}; replace the file", kModelPlace, type);
      piece.type = static_cast<PieceType>(type);
    }
  }
  return piece;
}

void read_trainer_spec(std::string_view bytes, SpieceModel& model) {
  ProtobufReader reader(bytes, "spiece.model: trainer_spec");
  while (reader.next()) {
    if (reader.field() == 3) model.model_type = reader.varint();
    // Negative ids are written as ten bytes, and are no piece.
    if (reader.field() == 40) model.unknown_id = static_cast<std::int64_t>(reader.varint());
  }
}

void read_normalizer_spec(std::string_view bytes, SpieceModel& model) {
  ProtobufReader reader(bytes, "spiece.model: normalizer_spec");
  while (reader.next())
    if (reader.field() == 2) model.charsmap = reader.bytes();
}

SpieceModel read_model(std::string_view bytes) {
  SpieceModel model;
  ProtobufReader reader(bytes, kModelPlace);
  while (reader.next()) {
    if (reader.field() == 1) model.pieces.push_back(read_piece(reader.bytes()));
    if (reader.field() == 2) read_trainer_spec(reader.bytes(), model);
    if (reader.field() == 3) read_normalizer_spec(reader.bytes(), model);
  }
  return model;
}

// What SentencePiece itself asks of a vocabulary.
void check_vocabulary(const SpieceModel& model) {
  WAN_CHECK(model.model_type == kUnigramModelType, kUnsupported,
            "[{}] expected a unigram model (type 1), got type {}; use the tokenizer of umT5", kModelPlace,
            model.model_type);
  std::set<std::u32string_view> seen;
  int unknown = 0;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const SpiecePiece& piece = model.pieces[i];
    WAN_CHECK(!piece.text.empty(), kBadFile,
              "[{}] expected pieces of some characters, piece {} is empty; replace "
              "the file",
              kModelPlace, i);
    WAN_CHECK(seen.insert(piece.text).second, kBadFile,
              "[{}] expected each piece once, \"{}\" is there twice; "
              "replace the file",
              kModelPlace, shortened(u32_to_utf8(piece.text)));
    if (piece.type == PieceType::kUnknown) ++unknown;
  }
  WAN_CHECK(unknown == 1, kBadFile, "[{}] expected one piece of type unknown, got {}; replace the file",
            kModelPlace, unknown);
}

}  // namespace

TokenizerParts read_spiece_model(std::string_view bytes, const SpieceOptions& options) {
  SpieceModel model = read_model(bytes);
  check_vocabulary(model);

  std::vector<AddedToken> added;
  std::vector<UnigramPiece> pieces;
  pieces.reserve(model.pieces.size());
  for (SpiecePiece& piece : model.pieces) {
    if (piece.type == PieceType::kControl || piece.type == PieceType::kUserDefined) {
      AddedToken token;
      token.content = piece.text;
      token.special = piece.type == PieceType::kControl;
      added.push_back(std::move(token));
    }
    pieces.push_back({std::move(piece.text), piece.score});
  }
  for (std::int64_t i = options.extra_ids; i-- > 0;)
    pieces.push_back({*utf8_to_u32(fmt::format("<extra_id_{}>", i)), 0.0});

  TokenizerParts parts(UnigramModel(std::move(pieces), model.unknown_id, ByteFallback::kOff));
  parts.added.add(added, parts.model);
  std::vector<TextNormalizerPtr> steps;
  if (!model.charsmap.empty()) steps.push_back(make_precompiled_normalizer(model.charsmap));
  steps.push_back(make_strip_normalizer({.left = false, .right = true}));
  steps.push_back(make_replace_regex_normalizer(U" {2,}", U"\u2581"));
  parts.normalizer = make_sequence_normalizer(std::move(steps));
  parts.pre_tokenizer = make_metaspace_pre_tokenizer({.prepend = options.prepend});
  const auto eos = parts.model.find(parts.eos_token);
  WAN_CHECK(eos, kBadFile, "[{}] expected a piece \"</s>\", there is none; use the tokenizer of umT5",
            kModelPlace);
  parts.token_template.after = {*eos};
  return parts;
}

}  // namespace wan
