#pragma once
// Latents on disk: the end of a denoising run, or its middle, with the settings that it was begun with.

#include <filesystem>
#include <optional>
#include <vector>

#include "kept/finished_segments.h"
#include "settings/settings.h"
#include "tensor/tensor.h"

namespace wan {

/// The sampler's state between two steps of a segment, on the host.
struct SavedLatents {
  std::vector<Tensor>
      slots;        // [C, F, h, w] f32 each; slot 0 is the latent; a finished segment keeps it alone
  int segment = 0;  // that they are of, out of
  int segments = 1;
  FinishedSegments done;  // latents of the segments before it
  /// What an unfinished segment's images became [C, F', h, w] f32, so that it needs them no more; empty for none. Of a finished one where
  /// it is decoded with them.
  Tensor condition;
  int next_step = 0;  // of the segment; equals the number of steps when finished
  /// Kept by this program on its own, until the video is whole; otherwise because someone asked for it.
  bool automatic = false;
  std::filesystem::path file;  // that they were loaded from
  /// Empty for a file of another program that holds a tensor "latents" and nothing else.
  std::optional<GenerationSettings> settings;

  bool segment_finished() const { return !settings || next_step >= settings->steps; }
  bool finished() const { return segment_finished() && segment + 1 == segments; }
};

/// Appears whole or not at all; what was there gets the name `earlier`, where one is given. Throws Io.
void save_latents(const std::filesystem::path& path, const SavedLatents& latents,
                  const std::filesystem::path& earlier = {});

/// Throws BadFile for anything but a file that save_latents() could have written, or one f32 tensor "latents"
/// [C, F, h, w]; also where a value is not finite.
SavedLatents load_latents(const std::filesystem::path& path);

}  // namespace wan
