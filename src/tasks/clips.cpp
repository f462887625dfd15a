#include "tasks/clips.h"

#include "base/error.h"
#include "ops/copy.h"

namespace wan {

void begin_clip(const Run& run) {
  const RunContext& context = run.context();
  if (run.segments() > 1)
    context.tell(Notice{format_message("clip {} of {}", run.segment() + 1, run.segments())});
  if (context.dump != nullptr) context.dump->begin_clip(run.segment());
}

int guidance_branches(const RunContext& run) {
  const Guidance guidance(run.settings.guide_scale, run.settings.boundary);
  return guidance.needs_unconditional(0) ? 2 : 1;
}

Tensor clip_latents(const Run& run, std::int64_t frames) {
  const Shape& latent = run.latent();
  return {run.context().exec.backend.allocator(), DType::kF32, {latent[0], frames, latent[2], latent[3]}};
}

Tensor host_frames(const RunContext& run, std::int64_t count) {
  return {DType::kF32, {count, run.settings.size.height, run.settings.size.width, 3}};
}

void encode_frames(const Run& run, std::int64_t count, const FillFrame& fill, const TensorView& into,
                   const char* frames_name, const char* latents_name) {
  const RunContext& context = run.context();
  const std::int64_t latents = run.models().vae.geometry().latent_frames(count);
  const Tensor encoded = clip_latents(run, latents);
  encode_clip(context, run.models().vae, run.encode_plan(), fill, encoded, FramesOf::kFirstRank);
  copy(context.exec, {encoded.view().slice(1, latents - into.dim(1), latents), into});
  if (context.dump == nullptr) return;
  dump_clip(context, frames_name, count, fill);
  context.dump->tensor(context.exec, latents_name, into);
}

void dump_clip(const RunContext& run, const char* name, std::int64_t count, const FillFrame& fill) {
  if (run.dump == nullptr) return;
  const Tensor video = host_frames(run, count);
  const auto size = static_cast<std::size_t>(video.elements() / count);
  for (std::int64_t i = 0; i < count; ++i)
    fill(i, {video.as<float>() + static_cast<std::size_t>(i) * size, size});
  run.dump->planes(name, video);
}

}  // namespace wan
