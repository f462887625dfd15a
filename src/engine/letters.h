#pragma once
// What the processes of one engine tell each other, as bytes. All of them run one version of the program on processors of one byte order.

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "kept/saved_latents.h"
#include "parallel/mpi/process_group.h"
#include "parallel/rank_layout.h"
#include "pipeline/input_images.h"
#include "tensor/device_group.h"
#include "wan/engine.h"

namespace wan {

class LetterWriter {
 public:
  template <typename T>
  requires std::is_arithmetic_v<T>
  void put(T value) { put_bytes(&value, sizeof value); }
  void put(std::string_view text) {
    put(text.size());
    put_bytes(text.data(), text.size());
  }
  void put(const Shape& shape);
  /// Of the host; an empty one too.
  void put(const Tensor& tensor);
  void put(const Error& error);
  Letter take() { return std::move(letter_); }

 private:
  void put_bytes(const void* data, std::size_t bytes);
  Letter letter_;
};

/// Throws Internal for a letter that was written otherwise.
class LetterReader {
 public:
  explicit LetterReader(Letter letter) : letter_(std::move(letter)) {}

  template <typename T>
  requires std::is_arithmetic_v<T> T get() {
    T value{};
    get_bytes(&value, sizeof value);
    return value;
  }
  std::string text();
  Shape shape();
  Tensor tensor();
  Error error();

 private:
  void get_bytes(void* into, std::size_t bytes);
  Letter letter_;
  std::size_t read_ = 0;
};

void put_options(LetterWriter& letter, const EngineOptions& options);
EngineOptions get_options(LetterReader& letter);

/// Of a request what all ranks must know to make its video; what is written, and where, is the first process's alone.
struct SharedRequest {
  GenerationSettings settings;
  Shape latent;
  RankLayout layout;
  InputImages images;
  std::optional<SavedLatents> resumed;
  bool check = false;
};

void put_request(LetterWriter& letter, const GenerationSettings& settings, const Shape& latent,
                 const RankLayout& layout, const InputImages& images,
                 const std::optional<SavedLatents>& resumed, bool check);
SharedRequest get_request(LetterReader& letter);

void put_group_support(LetterWriter& letter, const DeviceGroupSupport& support);
DeviceGroupSupport get_group_support(LetterReader& letter);

void put_vae_plan(LetterWriter& letter, const VaePlan& plan);
VaePlan get_vae_plan(LetterReader& letter);

}  // namespace wan
