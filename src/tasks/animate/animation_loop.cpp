#include "tasks/animate/animation_loop.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "media/load_image.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "tasks/animate/character_picture.h"

namespace wan {

namespace {

constexpr float kGrey = 0.0f;  // what is not known

void fill_from(const Image& image, std::span<float> pixels) {
  to_model_range(image.rgb, pixels);
}

}  // namespace

AnimationLoop::AnimationLoop(Run& run)
    : run_(run),
      context_(run.context()),
      animation_(*context_.settings.animation),
      files_(animation_.source, animation_.replaces),
      frames_(context_.settings.frame_num),
      branches_(guidance_branches(context_)) {
  if (!is_first_rank()) return;
  const auto face = static_cast<int>(transformer().config().animate->face_size());
  const auto open = [&](std::optional<ClipReader>& reader, const std::filesystem::path& file,
                        const VideoSize& size) {
    if (!file.empty()) reader.emplace(file, size, frames_, animation_.clip_frames);
  };
  open(poses_, files_.pose, context_.settings.size);
  open(faces_, files_.face, {face, face});
  open(background_, files_.background, context_.settings.size);
  open(mask_, files_.mask, context_.settings.size);
}

AnimationSettings::Clip AnimationLoop::clip() const {
  return animation_.clip(run_.segment(), frames_);
}

void AnimationLoop::dump_source() const {
  if (context_.dump == nullptr) return;
  const SharedNames of_the_video(context_.dump);
  for (const auto& [name, file] :
       {std::pair{"pose_frames", files_.pose}, std::pair{"face_frames", files_.face}}) {
    std::vector<std::uint8_t> levels;
    const std::unique_ptr<VideoReader> reader = open_video(file);
    while (const std::optional<VideoFrame> frame = reader->next())
      levels.insert(levels.end(), frame->image.rgb.begin(), frame->image.rgb.end());
    const std::int64_t shape[] = {frames_, reader->height(), reader->width(), 3};
    context_.dump->bytes(name, levels, shape);
  }
}

const Image& AnimationLoop::character() {
  if (!character_) character_ = fit_character(load_image(files_.picture), context_.settings.size);
  return *character_;
}

const TensorView& AnimationLoop::reference() {
  if (!reference_.empty()) return reference_.view();
  reference_ = clip_latents(run_, 1);
  const auto fill = [&](std::int64_t, std::span<float> pixels) { fill_from(character(), pixels); };
  encode_clip(context_, run_.models().vae, run_.encode_plan(), fill, reference_, FramesOf::kFirstRank);
  if (context_.dump != nullptr) {
    const SharedNames of_the_video(context_.dump);
    const Image& image = character();
    const std::int64_t shape[] = {image.height, image.width, 3};
    dump_source();
    context_.dump->bytes("ref_image", image.rgb, shape);
    context_.dump->tensor(context_.exec, "ref_latents", reference_);
  }
  return reference_.view();
}

void AnimationLoop::encode_poses(const TensorView& into) {
  const auto fill = [&](std::int64_t index, std::span<float> pixels) {
    fill_from(poses_->frame(clip().first, index), pixels);
  };
  encode_frames(run_, animation_.clip_frames, fill, into, "pose_video", "pose_latents");
}

void AnimationLoop::encode_known(const TensorView& into) {
  const auto fill = [&](std::int64_t index, std::span<float> pixels) {
    if (index < clip().carried)
      std::copy_n(carried_.as<float>() + index * static_cast<std::int64_t>(pixels.size()), pixels.size(),
                  pixels.begin());
    else if (background_)
      fill_from(background_->frame(clip().first, index), pixels);
    else
      std::ranges::fill(pixels, kGrey);
  };
  encode_frames(run_, animation_.clip_frames, fill, into, "given_video", "given_latents");
}

void AnimationLoop::make_mask(const TensorView& into) {
  const std::int64_t latents = into.dim(1), rows = into.dim(2), columns = into.dim(3);
  const Tensor device(context_.exec.backend.allocator(), DType::kF32, into.shape());
  if (is_first_rank()) {
    const RankRest rest(context_.exec.communicator);
    const int stride = run_.models().vae.geometry().spatial_stride;
    const Tensor mask(DType::kF32, into.shape());
    for (std::int64_t latent = 0; latent < latents; ++latent)
      for (std::int64_t part = 0; part < 4; ++part) {
        // The first latent frame stands for one video frame, which is its four.
        const std::int64_t frame = latent == 0 ? 0 : 4 * (latent - 1) + 1 + part;
        const bool carried = frame < clip().carried;
        const Image* const given = mask_ && !carried ? &mask_->frame(clip().first, frame) : nullptr;
        float* const plane = mask.as<float>() + (part * latents + latent) * rows * columns;
        for (std::int64_t y = 0; y < rows; ++y)
          for (std::int64_t x = 0; x < columns; ++x) {
            const auto red = given == nullptr ? 0 : given->row(static_cast<int>(y) * stride)[3 * x * stride];
            const float known = given == nullptr ? (carried ? 1.0f : 0.0f)
                                                 : static_cast<float>(1.0 - static_cast<double>(red) / 255.0);
            plane[y * columns + x] = known;
          }
      }
    context_.exec.backend.upload(mask, device);
  }
  context_.exec.communicator.broadcast(device, 0);
  copy(context_.exec, {device, into});
}

Tensor AnimationLoop::make_condition() {
  const AnimateChannels at(transformer().config());
  const Shape& latent = run_.latent();
  const TensorView& picture = reference();
  Tensor condition(context_.exec.backend.allocator(), DType::kF32,
                   {at.all(), latent[1], latent[2], latent[3]});
  const TensorView view = condition;
  fill_zero(context_.exec, view);
  const auto channels = [&](std::int64_t first, std::int64_t last) { return view.slice(0, first, last); };
  const auto of_video = [&](const TensorView& part) { return part.slice(1, 1, latent[1]); };
  const Tensor ones(DType::kF32, {at.kMask, 1, latent[2], latent[3]});
  std::fill_n(ones.as<float>(), ones.elements(), 1.0f);
  const Tensor known(context_.exec.backend.allocator(), DType::kF32, ones.shape());
  context_.exec.backend.upload(ones, known);
  copy(context_.exec, {known, channels(0, at.kMask).slice(1, 0, 1)});
  copy(context_.exec, {picture, channels(at.kMask, at.known).slice(1, 0, 1)});
  make_mask(of_video(channels(0, at.kMask)));
  encode_known(of_video(channels(at.kMask, at.known)));
  encode_poses(of_video(channels(at.known, at.pose)));
  mark_posed_frames(context_.exec, at, view);
  if (context_.dump != nullptr) context_.dump->tensor(context_.exec, "condition", channels(0, at.known));
  return condition;
}

CharacterContext& AnimationLoop::context_of_character() {
  if (character_context_) return *character_context_;
  const ClipVision& tower = *run_.models().image_encoder;
  const ClipConfig& config = tower.config();
  ExecContext& exec = context_.exec;
  const Tensor tokens(exec.backend.allocator(), DType::kF32, {config.tokens(), config.dim});
  if (is_first_rank()) {
    const RankRest rest(exec.communicator);
    const Tensor pixels = clip_pixels(character(), config);
    const Tensor device(exec.backend.allocator(), DType::kF32, pixels.shape());
    exec.backend.upload(pixels, device);
    run_.models().image_residency->set_schedule(tower.schedule());
    tower.encode(exec, device, tokens);
    exec.workspace.release();  // the passes that follow take other memory
    if (context_.dump != nullptr) {
      const SharedNames of_the_video(context_.dump);
      context_.dump->tensor(exec, "image_pixels", device);
      context_.dump->tensor(exec, "image_embedding", tokens);
    }
  }
  exec.communicator.broadcast(tokens, 0);
  return character_context_.emplace(context_.transformer_exec, transformer(), tokens);
}

void AnimationLoop::encode_faces(
    const std::function<void(std::int64_t first, const TensorView& faces)>& faces, const TensorView& motion) {
  ExecContext& exec = context_.exec;
  if (is_first_rank()) {
    const RankRest rest(exec.communicator);
    const MotionEncoder& encoder = transformer().motion_encoder();
    const std::int64_t size = transformer().config().animate->face_size();
    const std::int64_t most = std::min(encoder.most_faces(), motion.dim(0));
    const Tensor host(DType::kF32, {most, size, size, 3});
    const Tensor device(exec.backend.allocator(), DType::kF32, host.shape());
    for (std::int64_t first = 0; first < motion.dim(0); first += most) {
      const std::int64_t count = std::min(most, motion.dim(0) - first);
      const TensorView part = host.view().slice(0, 0, count), there = device.view().slice(0, 0, count);
      faces(first, part);
      exec.backend.upload(part, there);
      encoder.encode(exec, there, motion.slice(0, first, first + count));
    }
    exec.workspace.release();  // the passes that follow take other memory
  }
  exec.communicator.broadcast(motion, 0);
}

Tensor AnimationLoop::motion_of_faces() {
  const AnimateConfig& config = *transformer().config().animate;
  Tensor motion(context_.exec.backend.allocator(), DType::kF32, {animation_.clip_frames, config.motion_dim});
  std::vector<std::uint8_t> levels;  // for the dump
  encode_faces(
      [&](std::int64_t first, const TensorView& faces) {
        const std::int64_t size = faces.elements() / faces.dim(0);
        for (std::int64_t i = 0; i < faces.dim(0); ++i) {
          const Image& face = faces_->frame(clip().first, first + i);
          fill_from(face, {faces.as<float>() + i * size, static_cast<std::size_t>(size)});
          if (context_.dump != nullptr) levels.insert(levels.end(), face.rgb.begin(), face.rgb.end());
        }
      },
      motion);
  if (context_.dump != nullptr) {
    const std::int64_t shape[] = {animation_.clip_frames, config.face_size(), config.face_size(), 3};
    context_.dump->bytes("face_video", levels, shape);
    context_.dump->tensor(context_.exec, "face_motion", motion);
  }
  return motion;
}

const Tensor& AnimationLoop::motion_of_nobody() {
  if (!motion_of_nobody_.empty()) return motion_of_nobody_;
  const std::int64_t width = transformer().config().animate->motion_dim;
  const Tensor one(context_.exec.backend.allocator(), DType::kF32, {1, width});
  encode_faces(
      [](std::int64_t, const TensorView& faces) {
        constexpr float kBlack = -1.0f;
        std::fill_n(faces.as<float>(), faces.elements(), kBlack);
      },
      one);
  motion_of_nobody_ = Tensor(context_.exec.backend.allocator(), DType::kF32, {animation_.clip_frames, width});
  const TensorView repeated(one.view().data(), DType::kF32, motion_of_nobody_.shape(), {0, 1},
                            one.view().device());
  copy(context_.exec, {repeated, motion_of_nobody_});
  return motion_of_nobody_;
}

TensorView AnimationLoop::denoise(Tensor condition) {
  SegmentInput segment{.condition = std::move(condition)};
  if (run_.is_kept()) return run_.denoise(std::move(segment));
  Tensor motion;
  std::optional<AnimateConditioning> conditioning;
  run_.before_steps([&] {
    motion = motion_of_faces();
    AnimateInput input{.channels = segment.condition, .motion = {motion}};
    if (branches_ > 1) input.motion.push_back(motion_of_nobody());
    conditioning.emplace(context_.transformer_exec, transformer(), context_of_character(), input);
    if (context_.dump != nullptr)
      context_.dump->tensor(context_.exec, "face_tokens", conditioning->face_tokens(0));
  });
  segment.conditioning = conditioning->branch(0);
  if (branches_ > 1) segment.negative = conditioning->branch(1);
  return run_.denoise(std::move(segment));
}

void AnimationLoop::make() {
  begin_clip(run_);
  Tensor condition = run_.condition([&] { return make_condition(); });
  const TensorView made = denoise(std::move(condition));
  // The picture's own latent frame is no part of the video.
  const Tensor decoded = clip_latents(run_, made.dim(1) - 1);
  copy(context_.exec, {made.slice(1, 1, made.dim(1)), decoded});
  carried_ = run_.decode(
      decoded,
      {.skip = clip().carried, .carry = is_last() ? 0 : animation_.carried_frames, .most = clip().shown});
}

}  // namespace wan
