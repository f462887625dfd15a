#pragma once
// In which ways the published models' videos can be made on some GPUs: bytes by the plan's rehearsal, times by time_estimate.h.

#include <span>
#include <string>
#include <string_view>

#include "published/known_gpus.h"
#include "wan/doctor.h"

namespace wan {

/// GPUs of one kind in one machine.
struct GpuSet {
  std::string name = {};            // as it is shown
  const KnownGpu* known = nullptr;  // nullptr: no times are told
  std::int64_t memory = 0;          // of one, in bytes
  std::int64_t free = 0;            // of it; 0: all that CUDA leaves
  int count = 1;
  GpuLink link = GpuLink::kHost;
  double link_bytes = 0;  // a second, as measured; 0: what is usual of the link
};

/// "A40", "A40 x2", "A40 x2 nvlink" (or pcie, or host: no peer access), of DoctorOptions::pretend. Throws InvalidArgument.
GpuSet parse_pretended(std::string_view text);
/// "2 x A40, 48.3 GB each, linked by PCIe"
std::string describe(const GpuSet& gpus);

/// A video of a published model.
struct PublishedVideo {
  std::string_view task;
  VideoSize size;
};
/// Each published model at each of its usual sizes.
std::span<const PublishedVideo> published_videos();

/// What a video has to do, and the layouts that fit on 1, 2, 4, ... and all of the GPUs.
DoctorVideo plan_layouts(const PublishedVideo& video, const GpuSet& gpus);

}  // namespace wan
