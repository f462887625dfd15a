#include "preprocess/retarget.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kNose = 0, kNeck = 1, kRightShoulder = 2, kRightWrist = 4, kLeftShoulder = 5, kLeftWrist = 7,
              kRightHip = 8, kRightAnkle = 10, kLeftHip = 11, kLeftAnkle = 13, kLeftToe = 18, kRightToe = 19;
constexpr double kLeastScore = 0.4;

/// Bones that have one on the other side: the longer ratio counts for both.
constexpr int kMirrored[][2] = {{0, 1}, {2, 4}, {3, 5}, {6, 9}, {7, 10}, {8, 11}, {17, 18}};
/// Those whose mean counts: to the eyes and to the ears.
constexpr int kMeaned[][2] = {{13, 15}, {14, 16}};
/// A foot, and the calf of which it has at most a half.
constexpr int kFeet[][2] = {{18, 8}, {17, 11}};

struct Point {
  double x, y, score;
};

template <typename Points>
auto& at(Points& points, int index) {
  return points[static_cast<std::size_t>(index)];
}

double distance(double dx, double dy) {
  return std::sqrt(dx * dx + dy * dy);
}

}  // namespace

/// A pose with its points in double, as parts of a frame or in pixels.
struct Retargeting::Body {
  explicit Body(const Pose& pose) : width(pose.width), height(pose.height) {
    std::ranges::transform(pose.body, points.begin(), [](const PosePoint& p) {
      return Point{p.x, p.y, p.score};
    });
  }

  const Point& operator[](int index) const { return at(points, index); }
  Point& operator[](int index) { return at(points, index); }

  void to_pixels() {
    for (Point& point : points) point.x *= width, point.y *= height;
  }

  int width, height;
  std::array<Point, 20> points{};
};

Retargeting::Seen Retargeting::seen_of(const Body& body) {
  const auto is_seen = [&](int index) { return body[index].y <= 1 && body[index].score >= kLeastScore; };
  if (!is_seen(kRightHip) || !is_seen(kLeftHip)) return Seen::kUpperBody;
  return is_seen(kRightAnkle) && is_seen(kLeftAnkle) ? Seen::kWholeBody : Seen::kHips;
}

/// How large the video's person is beside the picture's: from the nose to the ankles, or to the hips, or as the frames are.
double Retargeting::height_ratio(const Body& video, const Body& picture) {
  constexpr double kSure = 0.5;
  for (const auto& ends : {std::pair{kRightAnkle, kLeftAnkle}, std::pair{kRightHip, kLeftHip}}) {
    const int right = ends.first, left = ends.second;
    const auto is_sure = [&](const Body& body) {
      return body[kNose].score > kSure && body[right].score > kSure && body[left].score > kSure;
    };
    if (!is_sure(video) || !is_sure(picture)) continue;
    const auto height = [&](const Body& body) {
      return body.height * std::abs((body[right].y + body[left].y) / 2 - body[kNose].y);
    };
    const double ratio = height(video) / height(picture);
    WAN_CHECK(std::isfinite(ratio) && ratio > 0, kBadFile,
              "[retargeting] the person of the first frame or of the picture has no height: nose, hips and "
              "ankles are "
              "found in one line; leave `retarget_flag` out, or take another picture");
    return ratio;
  }
  return std::sqrt(static_cast<double>(video.height) * video.width) /
         std::sqrt(static_cast<double>(picture.height) * picture.width);
}

std::array<double, 19> Retargeting::lengths_of(const Body& body) {
  std::array<double, 19> lengths{};
  std::ranges::transform(kBones, lengths.begin(), [&](const std::array<int, 2>& bone) {
    const Point &a = body[bone[0]], &b = body[bone[1]];
    return distance(a.x * body.width - b.x * body.width, a.y * body.height - b.y * body.height);
  });
  return lengths;
}

/// Each bone gets its ratio and keeps its angle; what hangs on it moves along.
void Retargeting::lengthen(Body& body, const std::array<double, 19>& ratios, bool limits_feet) {
  std::array<double, 19> lengths{}, angles{};
  for (std::size_t i = 0; i < kBones.size(); ++i) {
    const Point &from = body[kBones[i][0]], &to = body[kBones[i][1]];
    const double dx = from.x - to.x, dy = from.y - to.y;
    lengths[i] = distance(dy, dx) * ratios[i];
    angles[i] = std::atan2(dy, dx) * (180.0 / std::numbers::pi);
  }
  if (limits_feet)
    for (const auto& [foot, calf] : kFeet)
      at(lengths, foot) = std::min(at(lengths, foot), at(lengths, calf) * 0.5);
  for (std::size_t i = 0; i < kBones.size(); ++i) {
    const Point& from = body[kBones[i][0]];
    Point& to = body[kBones[i][1]];
    const double angle = angles[i] * (std::numbers::pi / 180.0);
    to.x = from.x - lengths[i] * std::cos(angle);
    to.y = from.y - lengths[i] * std::sin(angle);
  }
}

void Retargeting::share_ratios() {
  for (const auto& [a, b] : kMirrored)
    at(ratios_, a) = at(ratios_, b) = std::max(at(ratios_, a), at(ratios_, b));
  for (const auto& [a, b] : kMeaned) at(ratios_, a) = at(ratios_, b) = (at(ratios_, a) + at(ratios_, b)) / 2;
}

Retargeting::Retargeting(const Pose& video_pose, const Pose& picture_pose,
                         const std::optional<EditedPoses>& edited, std::vector<std::string>& notices)
    : width_(picture_pose.width), height_(picture_pose.height) {
  const Body video(video_pose);
  Body picture(picture_pose);
  scale_ = height_ratio(video, picture);
  const auto scaled = [](Body body, double by) {
    body.height = static_cast<int>(body.height * by);
    body.width = static_cast<int>(body.width * by);
    return body;
  };
  std::array<double, 19> of_video = lengths_of(video), of_picture{};
  double change_of_video = 1, change_of_picture = 1;
  if (edited) {
    const Body edited_video(edited->video), edited_picture(edited->picture);
    constexpr double kSure = 0.5;
    const auto is_measured = [&](const Body& body) {
      const auto sure = [&](int right, int left) {
        return body[right].score > kSure && body[left].score > kSure;
      };
      return std::pair(body[kNose].score > kSure && sure(kRightAnkle, kLeftAnkle),
                       body[kNose].score > kSure && sure(kRightHip, kLeftHip));
    };
    const auto a = is_measured(edited_video), b = is_measured(edited_picture);
    // Where neither ankles nor hips tell how large the edited bodies are, heads and shoulders do.
    if (!(a.first && b.first) && !(a.second && b.second)) {
      const auto change = [](const Body& body, const Body& other) {
        const auto head = [](const Body& of) {
          const auto [least, most] = std::minmax({of[0].x, of[14].x, of[15].x, of[16].x, of[17].x});
          return most - least;
        };
        const auto shoulders = [](const Body& of) {
          const Point &left = of[kLeftShoulder], &right = of[kRightShoulder];
          return distance(left.x * of.width - right.x * of.width, left.y * of.height - right.y * of.height);
        };
        return std::max(head(body) / head(other), shoulders(body) / shoulders(other));
      };
      change_of_video = change(video, edited_video);
      change_of_picture = change(picture, edited_picture);
    }
    of_video = lengths_of(edited_video);
    of_picture = lengths_of(scaled(edited_picture, height_ratio(edited_video, edited_picture)));
  }
  picture = scaled(picture, scale_);
  if (!edited) of_picture = lengths_of(picture);
  int unknown = 0;
  for (std::size_t i = 0; i < ratios_.size(); ++i) {
    ratios_[i] = of_picture[i] * change_of_picture / of_video[i] / change_of_video;
    if (!std::isfinite(ratios_[i])) ratios_[i] = 1, ++unknown;
  }
  if (unknown > 0)
    notices.push_back(format_message(
        "retargeting: {} of {} bones have no length in the first frame and keep theirs in all others",
        unknown, ratios_.size()));
  share_ratios();
  Body moved = video;
  moved.to_pixels();
  lengthen(moved, ratios_, /*limits_feet=*/false);
  const Seen seen = std::min(seen_of(picture), seen_of(video));
  if (seen == Seen::kWholeBody) {
    const double left_foot = (picture[kLeftAnkle].y + picture[kLeftToe].y) / 2;
    const double right_foot = (picture[kRightAnkle].y + picture[kRightToe].y) / 2;
    shift_y_ = std::max(moved[kRightAnkle].y, moved[kLeftAnkle].y) -
               std::max(left_foot, right_foot) * picture.height;
    shift_x_ = (moved[kRightHip].x + moved[kLeftHip].x) / 2 -
               (picture[kRightHip].x + picture[kLeftHip].x) * picture.width / 2;
  } else {
    shift_x_ = moved[kNeck].x - picture[kNeck].x * picture.width;
    shift_y_ = moved[kNeck].y - picture[kNeck].y * picture.height;
  }
}

Skeleton Retargeting::apply(const Pose& pose) const {
  Body before(pose);
  before.to_pixels();
  Body body = before;
  lengthen(body, ratios_, /*limits_feet=*/true);
  Skeleton skeleton;
  for (std::size_t i = 0; i < body.points.size(); ++i) {
    Point& point = body.points[i];
    point.x = (point.x - shift_x_) / scale_;
    point.y = (point.y - shift_y_) / scale_;
    // Officially they become parts of the picture, and then pixels again.
    skeleton.body[i] = {point.x / width_ * width_, point.y / height_ * height_, point.score};
  }

  const double ratio = std::max(ratios_[0], ratios_[1]) / scale_;
  /// The hand's points, scaled about its root; not those whose scores are low.
  const auto scaled_hand = [&](const std::array<PosePoint, 21>& hand) {
    std::array<Point, 21> result{};
    const auto part = [](float of_frame, int side) { return static_cast<double>(of_frame) * side / side; };
    const double root_x = part(hand[0].x, pose.width) * (ratio - 1),
                 root_y = part(hand[0].y, pose.height) * (ratio - 1);
    std::ranges::transform(hand, result.begin(), [&](const PosePoint& point) {
      if (point.score < kLeastScore) return Point{-1, -1, 0};
      return Point{part(point.x, pose.width) * ratio - root_x, part(point.y, pose.height) * ratio - root_y,
                   point.score};
    });
    return result;
  };
  const std::array<Point, 21> right = scaled_hand(pose.right_hand), left = scaled_hand(pose.left_hand);
  const auto offset = [&](int wrist, const std::array<Point, 21>& hand) {
    Point moved{body[wrist].x - before[wrist].x, body[wrist].y - before[wrist].y, 0};
    if (hand[0].x != -1) {
      moved.x += before[wrist].x - hand[0].x * pose.width;
      moved.y += before[wrist].y - hand[0].y * pose.height;
    }
    return moved;
  };
  const auto place = [&](const std::array<Point, 21>& hand, const Point& by,
                         std::array<SkeletonPoint, 21>& group) {
    std::ranges::transform(hand, group.begin(), [&](const Point& point) {
      if (point.score == 0) return SkeletonPoint{};
      return SkeletonPoint{std::trunc(point.x * pose.width + by.x), std::trunc(point.y * pose.height + by.y),
                           point.score};
    });
  };
  const auto far_from = [&](int wrist) {
    return distance(before[wrist].x - right[0].x * pose.width, before[wrist].y - right[0].y * pose.height);
  };
  const Point at_right = offset(kRightWrist, right), at_left = offset(kLeftWrist, left);
  // What is called the right hand may lie at the left wrist: then each is drawn at the wrist where it is. The official names are the other way round,
  // and decide which of the two is drawn last.
  const bool swapped = far_from(kRightWrist) > far_from(kLeftWrist);
  place(swapped ? left : right, at_right, skeleton.left_hand);
  place(swapped ? right : left, at_left, skeleton.right_hand);
  return skeleton;
}

}  // namespace wan
