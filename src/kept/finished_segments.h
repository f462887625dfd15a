#pragma once
// FinishedSegments: the latents of a run's finished segments, on the host.

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace wan {

/// What each segment is called in a kept file: "segment_0".
std::string finished_segment_name(std::size_t segment);

/// Where a kept file holds them they are read from it, so that memory does not grow with their number. Copies share what they hold.
class FinishedSegments {
 public:
  std::size_t size() const { return segments_.size(); }
  /// [C, F, h, w] f32; empty for one that another process has.
  const TensorView& operator[](std::size_t segment) const { return segments_[segment].view; }

  void add(Tensor latent);
  void add_elsewhere() { segments_.emplace_back(); }
  void remove_last() { segments_.pop_back(); }

  /// `kept` holds all of them now, and they are read from it from here on. A file that cannot be read back changes nothing.
  void move_to(const std::filesystem::path& kept);
  /// Those of a file that is open. Throws BadFile where one of `count` segments is missing, is not f32 of `shape`, or is not finite.
  void read_from(const Checkpoint& file, std::size_t count, const Shape& shape);
  /// To be called once values have been taken: throws BadFile where the file was cut short meanwhile.
  void check_read() const;

 private:
  struct Segment {
    TensorView view = {};
    std::shared_ptr<const Tensor> held = {};  // nullptr: the file holds it
  };
  std::vector<Segment> segments_;
  std::optional<Checkpoint> file_;
};

}  // namespace wan
