#pragma once
// DumpWriter: intermediate tensors as .npy files, to compare a run with any other implementation's.
//
// A folder holds: tokens_prompt, mask_prompt, tokens_negative, mask_negative [1, 512] int64; context_prompt,
// context_negative [tokens, text_dim]; noise [C, F, h, w]; timesteps int64 and sigmas; for each step NN step_NN_input,
// step_NN_timestep int64, step_NN_cond, step_NN_uncond (absent where skipped), step_NN_guided, step_NN_latent
// [C, F, h, w]; latents, and where something is decoded before them decode_latents and decoded [3, F', H, W]; frames_float [3, F, H, W] in [-1, 1]; frames [F, H, W, 3] uint8; manifest.json; and with taps
// taps/NAME.CCCC.npy, CCCC counting the calls of a layer. All f32 where nothing else is said.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "media/npy.h"
#include "ops/backend.h"

namespace wan {

class DumpWriter {
 public:
  /// Creates the folder where it is missing, and removes an earlier dump from it: see clear_dump_folder(). Throws Io.
  DumpWriter(std::filesystem::path folder, int steps);
  /// Writes a manifest of what there is where the run ended early, so that the next one may remove it; without settings.
  ~DumpWriter();
  DumpWriter(const DumpWriter&) = delete;
  DumpWriter& operator=(const DumpWriter&) = delete;

  /// In a video of clips: names from here on begin with clip_NN_, but for what belongs to the video: SharedNames.
  void begin_clip(int clip);
  void integers(const std::string& name, std::span<const std::int64_t> values,
                std::span<const std::int64_t> shape);
  void floats(const std::string& name, std::span<const float> values, std::span<const std::int64_t> shape);
  void bytes(const std::string& name, std::span<const std::uint8_t> values,
             std::span<const std::int64_t> shape);
  /// Frames [n, H, W, 3] f32 of the host as [3, n, H, W].
  void planes(const std::string& name, const TensorView& frames);
  /// A tensor on the backend's device, written as f32.
  void tensor(ExecContext& ctx, const std::string& name, const TensorView& view);
  /// step_NN_`what`; `step` counts from 0.
  void step_tensor(ExecContext& ctx, int step, const char* what, const TensorView& view);
  /// An integer where it is one, as the official timesteps are; otherwise float32.
  void step_timestep(int step, double timestep);
  void tap(ExecContext& ctx, std::string_view name, const TensorView& view);

  /// The frames of a video, which come in groups.
  void begin_frames(std::int64_t count, std::int64_t height, std::int64_t width);
  /// pixels [n, H, W, 3] as decoded, clamped here; levels the bytes that go to the encoder.
  void frames(std::int64_t first, std::span<const float> pixels, std::span<const std::uint8_t> levels);

  /// Ends the frames and writes manifest.json: settings, every file's dtype and shape, and the taps' names.
  void finish(const std::vector<std::pair<std::string, std::string>>& settings);

 private:
  friend class SharedNames;
  struct File {
    std::string dtype;
    std::vector<std::int64_t> shape;
  };
  std::filesystem::path path_of(const std::string& name, const char* dtype,
                                std::span<const std::int64_t> shape);
  std::string step_name(int step, const char* what) const;
  void write_manifest(const std::vector<std::pair<std::string, std::string>>& settings);

  std::filesystem::path folder_;
  int digits_;
  std::string prefix_;  // of the clip's names
  std::vector<std::pair<std::string, File>> files_;
  std::map<std::string, int, std::less<>> tap_calls_;
  std::unique_ptr<NpyWriter> float_frames_;
  std::unique_ptr<NpyWriter> byte_frames_;
  std::int64_t frame_count_ = 0;
  std::int64_t frame_pixels_ = 0;
  bool finished_ = false;
};

/// As long as it lives names begin with no clip; `dump` may be nullptr.
class SharedNames {
 public:
  explicit SharedNames(DumpWriter* dump) : dump_(dump) {
    if (dump_ != nullptr) std::swap(prefix_, dump_->prefix_);
  }
  ~SharedNames() {
    if (dump_ != nullptr) std::swap(prefix_, dump_->prefix_);
  }
  SharedNames(const SharedNames&) = delete;
  SharedNames& operator=(const SharedNames&) = delete;

 private:
  DumpWriter* dump_;
  std::string prefix_;
};

}  // namespace wan
