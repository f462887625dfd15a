"""Make the golden file of character animation's preprocessing: tests/golden/preprocess/steps.safetensors.

    python tools/golden/make_preprocess.py --wan_dir Wan2.2 --out tests/golden/preprocess

What OpenCV and the official code (wan/modules/animate/preprocess) make of inputs that the tests make again by rule(). Its networks are not needed: what
cannot be imported is a stub. Versions: requirements.txt beside this file, opencv-python-headless 4.11.0.86 and matplotlib.
OpenCV 5 cuts thick lines that leave the image before it draws them, and is a pixel off there.

Arrays are [cases, ...]; .in has what a case is made from, whole images are hashes (FNV-1a, 64 bits) of their bytes.
"""

import argparse
import sys
import types
from pathlib import Path

import numpy as np


def rule(seed, count):
    """`count` numbers of 32 bits that look random, as tests/support/rule_values.h makes them."""
    n = np.arange(count, dtype=np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B9) + np.uint64(1)
    mask = np.uint64(0xFFFFFFFF)
    n = n * np.uint64(2654435761) & mask
    n ^= n >> np.uint64(15)
    n = n * np.uint64(2246822519) & mask
    n ^= n >> np.uint64(13)
    n = n * np.uint64(3266489917) & mask
    return n ^ n >> np.uint64(16)


def units(seed, count):
    """Floats in [0, 1)."""
    return ((rule(seed, count) >> np.uint64(8)).astype(np.float32) / np.float32(1 << 24)).astype(np.float32)


def picture(seed, width, height):
    return (rule(seed, width * height * 3) & np.uint64(255)).astype(np.uint8).reshape(height, width, 3)


def fnv(array):
    value = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(array).tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >= 1 << 63 else value


def import_official(wan_dir):
    sys.path.insert(0, str(Path(wan_dir) / "wan/modules/animate/preprocess"))
    sys.modules.setdefault("onnxruntime", types.ModuleType("onnxruntime"))
    import human_visualization
    import pose2d
    import pose2d_utils
    import retarget_pose
    import utils
    return types.SimpleNamespace(draw=human_visualization, pose2d=pose2d, points=pose2d_utils, retarget=retarget_pose, utils=utils)


def integers(random, low, high, count):
    return random.integers(low, high, count, endpoint=True)


def make_shapes(cv2, arrays, random):
    """Shapes on an image of 96x64: kind (0 ellipse, 1 circle, 2 line), its numbers, and the image's hash."""
    cases, hashes = [], []
    for index in range(600):
        image = np.zeros((64, 96, 3), np.uint8)
        kind = index % 3
        color = (200, 100, 50)
        if kind == 0:
            x, y, across, along, angle = *integers(random, -20, 115, 2), *integers(random, 0, 60, 1), *integers(random, 1, 9, 1), *integers(random, -180, 180, 1)
            case = [x, y, across, along, angle]
            polygon = cv2.ellipse2Poly((int(x), int(y)), (int(across), int(along)), int(angle), 0, 360, 1)
            cv2.fillConvexPoly(image, polygon, color)
        elif kind == 1:
            x, y, radius = *integers(random, -12, 108, 2), *integers(random, 0, 12, 1)
            case = [x, y, radius, 0, 0]
            cv2.circle(image, (int(x), int(y)), int(radius), color, thickness=-1)
        else:
            x, y, to_x, to_y, width = *integers(random, -30, 125, 4), *integers(random, 1, 6, 1)
            if index % 30 == 2:
                to_x, to_y = x, y
            case = [x, y, to_x, to_y, width]
            cv2.line(image, (int(x), int(y)), (int(to_x), int(to_y)), color, thickness=int(width))
        cases.append([kind] + [int(value) for value in case])
        hashes.append(fnv(image))
    arrays["shapes.in"] = np.array(cases, np.int32)
    arrays["shapes"] = np.array(hashes, np.int64)


def make_fits(official, arrays):
    """Width, height, area: the size and the hash of the fitted image."""
    areas = [(48, 27, 40 * 24), (27, 48, 40 * 24), (64, 48, 48 * 32), (61, 47, 50 * 30), (150, 100, 48 * 32), (192, 128, 96 * 64),
             (96, 64, 48 * 32), (144, 96, 48 * 32), (100, 30, 64 * 48), (33, 77, 64 * 48), (20, 20, 64 * 64), (128, 97, 64 * 64),
             (1920, 1080, 1280 * 720), (854, 480, 1280 * 720), (640, 480, 1280 * 720), (1080, 1920, 832 * 480), (1281, 721, 832 * 480)]
    sizes, hashes = [], []
    for index, (width, height, area) in enumerate(areas):
        large = width > 200
        fitted = official.utils.resize_by_area(np.zeros((height, width, 3), np.uint8) if large else picture(index, width, height), area, divisor=16)
        sizes.append([width, height, area, fitted.shape[1], fitted.shape[0]])
        hashes.append(0 if large else fnv(fitted))
    arrays["fits.in"], arrays["fits"] = np.array(sizes, np.int32), np.array(hashes, np.int64)


def make_frame_choices(official, arrays):
    cases = [(100, 25.0, 30.0), (106, 30.0, 30.0), (31, 23.976, 30.0), (240, 59.94, 30.0), (17, 24.0, 16.0), (1, 25.0, 30.0), (50, 30.0, 7.5), (9, 8.0, 24.0)]
    arrays["frames.in"] = np.array(cases, np.float64)
    for index, (frames, rate, fps) in enumerate(cases):
        arrays[f"frames.{index}"] = np.array(official.utils.get_frame_indices(frames, rate, int(frames / rate * fps), fps), np.int64)


def make_detections(official, arrays):
    yolo = official.pose2d.Yolo.__new__(official.pose2d.Yolo)
    yolo.input_width = yolo.input_height = 640
    yolo.threshold_multi_persons, yolo.threshold_conf, yolo.threshold_iou, yolo.threshold_bbox_shape_ratio = 0.1, 0.05, 0.5, 0.4
    yolo.cat_id, yolo.select_type, yolo.strict, yolo.sorted_func = [1], "max", True, None
    sizes, boxes = [], []
    for index in range(40):
        width, height = [(854, 480), (1280, 720), (333, 777), (640, 640)][index % 4]
        if index % 4 != 3:
            output = units(1000 + index, 30 * 6).reshape(1, 30, 6) * np.float32([600, 600, 600, 600, 1, 3])
            output[..., 2:4] = output[..., :2] + output[..., 2:4] / 2
            output[..., 4] *= output[..., 4]
            output[..., 5] = np.floor(output[..., 5])
            if index % 5 == 0:
                output[..., 5] += 1
            if index % 7 == 0:
                output[..., :4] = output[:, :1, :4] + output[..., :4] / 20
        else:
            output = units(1000 + index, 84 * 24).reshape(1, 84, 24)
            output[:, :4] *= 400
            output[:, 4:] = output[:, 4:] ** 2 * np.float32(0.7)
            output[:, 4] += np.float32(0.3) if index % 8 == 3 else np.float32(0)
        results = yolo.process_results(yolo.postprocess(output.copy(), np.array([height, width])), np.array([height, width]))
        sizes.append([width, height])
        boxes.append([0, 0, 0, 0, -1] if results is None or len(results) == 0 else results[0]["bbox"])
    arrays["boxes.in"], arrays["boxes"] = np.array(sizes, np.int32), np.array(boxes, np.float64)
    # The detector's input, of a frame of 50x40, in a network of 64x48.
    yolo.input_resolution = (48, 64)
    arrays["detector_input"] = np.array([fnv(yolo.preprocess(picture(7, 50, 40)[..., ::-1])[0])], np.int64)


def make_crops(official, arrays, random):
    """Of a frame of 120x90: boxes, and every 997th value of the input."""
    frame = picture(11, 120, 90)
    boxes, regions, values = [], [], []
    for index in range(60):
        left, top = integers(random, -10, 90, 2)
        width, height = integers(random, 5, 90, 2)
        score = 0.0 if index % 13 == 5 else 0.5
        box = np.array([left, top, left + width, top + height, score], np.float64)
        swapped = np.ascontiguousarray(frame[..., ::-1])
        image, center, scale = official.pose2d.ViTPose.preprocess(swapped, box)
        boxes.append(box)
        regions.append([*center, *(scale * 200)])
        values.append(image.reshape(-1)[::997])
    arrays["crops.in"], arrays["crops.regions"], arrays["crops"] = np.array(boxes), np.array(regions), np.array(values, np.float32)


def make_heatmaps(official, arrays, random):
    """Sums of two Gaussians and a slope, [48 wide, 64 high]: centre, width and height of each; points."""
    cases = []
    for index in range(48):
        first = [random.uniform(-2, 50), random.uniform(-2, 66), random.uniform(1.2, 3), random.uniform(0.2, 1)]
        second = [random.uniform(0, 48), random.uniform(0, 64), random.uniform(1.5, 4), random.uniform(0, 0.4)]
        cases.append(first + second)
    cases = np.array(cases)
    cases[5] = 0
    cases[5, [2, 6]] = 1  # nothing anywhere
    y, x = np.mgrid[0:64, 0:48].astype(np.float64)
    maps = []
    for case in cases:
        total = np.zeros_like(x)
        for cx, cy, sigma, high in (case[:4], case[4:]):
            total += high * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma ** 2))
        maps.append(total)
    maps = np.array(maps, np.float32)[None]
    center, scale = np.array([[301.5, 244.25]]), np.array([[333.0, 444.0]])
    points, scores = official.points.keypoints_from_heatmaps(maps, center, scale, unbiased=True, use_udp=False)
    arrays["heatmaps.in"] = cases
    arrays["heatmaps"] = np.concatenate([points, scores], 2)[0].astype(np.float32)


# A standing person in a frame, as parts of it: the 133 points' rough places. The rest is by rule.
BODY = {0: (.50, .20), 1: (.52, .18), 2: (.48, .18), 3: (.54, .19), 4: (.46, .19), 5: (.58, .32), 6: (.42, .32), 7: (.63, .45), 8: (.37, .45),
        9: (.66, .57), 10: (.34, .57), 11: (.55, .58), 12: (.45, .58), 13: (.56, .75), 14: (.44, .75), 15: (.56, .92), 16: (.44, .92),
        17: (.58, .95), 18: (.59, .95), 19: (.56, .94), 20: (.42, .95), 21: (.41, .95), 22: (.44, .94)}


def points_of(seed, width, height, spread, scores):
    """[133, 3] in pixels; `scores` from 0 to 1 moves them all."""
    values = units(seed, 133 * 3).reshape(133, 3)
    place = np.zeros((133, 2), np.float32)
    for index in range(133):
        if index in BODY:
            place[index] = BODY[index]
        elif index < 91:
            place[index] = (.5, .19)
        else:
            place[index] = BODY[9] if index < 112 else BODY[10]
    spread = np.float32(spread)
    points = np.empty((133, 3), np.float32)
    for axis, side in ((0, width), (1, height)):
        points[:, axis] = (place[:, axis] + (values[:, axis] - np.float32(0.5)) * spread) * np.float32(side)
    points[:, 2] = values[:, 2] * np.float32(0.5) + np.float32(scores)
    return points


# Seed, width, height, spread, scores
POSES = [(1, 320, 240, .1, .5), (2, 240, 320, .05, .6), (3, 640, 400, .3, .25), (4, 420, 640, 1.2, .3), (5, 900, 1300, .1, .45), (6, 64, 48, .2, .5), (7, 1300, 1250, .08, .3)]


def make_poses(official, arrays):
    hashes, faces, bodies = [], [], []
    for case in POSES:
        width, height = case[1:3]
        meta = official.points.load_pose_metas_from_kp2ds_seq(points_of(*case)[None], width, height)[0]
        bodies.append(meta["keypoints_body"].copy())
        faces.append(official.utils.get_face_bboxes(meta["keypoints_face"][:, :2], scale=1.3, image_shape=(height, width)))
        drawn = official.draw.draw_aapose_by_meta_new(np.zeros((height, width, 3), np.uint8), official.points.AAPoseMeta.from_humanapi_meta(meta))
        hashes.append(fnv(drawn))
    arrays["poses.in"] = np.array(POSES, np.float32)
    arrays["poses.body"], arrays["poses.faces"], arrays["poses"] = np.array(bodies, np.float32), np.array(faces, np.int32), np.array(hashes, np.int64)


# Video's first frame, picture, further frames; edited video and picture or none.
RETARGETED = {
    "whole": ((21, 640, 360, .04, .6), (22, 480, 832, .05, .55), [(23, 640, 360, .08, .4), (24, 640, 360, .2, .3)], None),
    "hips": ((31, 640, 360, .04, .6), (32, 480, 832, .05, .18), [(33, 640, 360, .08, .4)], None),
    "upper": ((41, 300, 500, .06, .1), (42, 512, 512, .05, .05), [(43, 300, 500, .1, .5)], None),
    "edited": ((51, 640, 360, .04, .6), (52, 480, 832, .05, .55), [(53, 640, 360, .08, .4)], ((54, 640, 360, .03, .6), (55, 480, 832, .03, .6))),
    "edited_heads": ((61, 640, 360, .04, .6), (62, 480, 832, .05, .55), [(63, 640, 360, .08, .4)], ((64, 640, 360, .03, .1), (65, 480, 832, .03, .1))),
}


def make_retargeted(official, arrays):
    def meta(case):
        return official.points.load_pose_metas_from_kp2ds_seq(points_of(*case)[None], *case[1:3])[0]
    for name, (first, reference, more, edited) in RETARGETED.items():
        frames = [first] + more
        edits = (None, None) if edited is None else (meta(edited[0]), meta(edited[1]))
        poses = official.retarget.get_retarget_pose(meta(first), meta(reference), [meta(case) for case in frames], *edits)
        bodies, hands, hashes = [], [], []
        for pose in poses:
            bodies.append(np.concatenate([pose.kps_body, pose.kps_body_p[:, None]], 1))
            for points, scores in ((pose.kps_lhand, pose.kps_lhand_p), (pose.kps_rhand, pose.kps_rhand_p)):
                points = np.array([[0 if value is None else value for value in point] for point in points])
                hands.append(np.concatenate([points, scores[:, None]], 1).astype(np.float64))
            hashes.append(fnv(official.draw.draw_aapose_by_meta_new(np.zeros((reference[2], reference[1], 3), np.uint8), pose)))
        arrays[f"retargeted.{name}.in"] = np.array([first, reference] + (list(edited) if edited else []) + more, np.float32)
        arrays[f"retargeted.{name}.edited"] = np.array([edited is not None], np.int64)
        arrays[f"retargeted.{name}.body"], arrays[f"retargeted.{name}.hands"] = np.array(bodies), np.array(hands)
        arrays[f"retargeted.{name}"] = np.array(hashes, np.int64)


def make_masks(official, arrays, random):
    """On 70x50: two rectangles; k, iterations, blocks. The mask's hash and the background's."""
    frame = picture(99, 70, 50)
    cases, hashes = [], []
    for index in range(40):
        mask = np.zeros((50, 70), np.uint8)
        rectangles = []
        for _ in range(2):
            left, top = *integers(random, 0, 60, 1), *integers(random, 0, 40, 1)
            width, height = integers(random, 2, 25, 2)
            rectangles += [left, top, width, height]
            mask[top:top + height, left:left + width] = 1
        k, iterations = *integers(random, 1, 8, 1), *integers(random, 0, 4, 1)
        w_len, h_len = integers(random, 1, 5, 2)
        if iterations > 0:
            _, made = official.utils.get_mask_body_img(frame, mask, iterations=int(iterations), k=int(k))
            made = official.utils.get_aug_mask(made, w_len=int(w_len), h_len=int(h_len))
        else:
            made = mask
        cases.append([*rectangles, k, iterations, w_len, h_len])
        hashes.append([fnv(made), fnv(frame * (1 - made[:, :, None]))])
    arrays["masks.in"], arrays["masks"] = np.array(cases, np.int32), np.array(hashes, np.int64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan_dir", required=True)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    import cv2
    from safetensors.numpy import save_file
    official = import_official(arguments.wan_dir)
    random = np.random.default_rng(20)
    arrays = {}
    make_shapes(cv2, arrays, random)
    make_fits(official, arrays)
    make_frame_choices(official, arrays)
    make_detections(official, arrays)
    make_crops(official, arrays, random)
    make_heatmaps(official, arrays, random)
    make_poses(official, arrays)
    make_retargeted(official, arrays)
    make_masks(official, arrays, random)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, arguments.out / "steps.safetensors")


if __name__ == "__main__":
    main()
