#include "extension/instructions.h"

#include <cstddef>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/untrusted_text.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

/// One in each language.
struct Instruction {
  const char* zh;
  const char* en;
};

constexpr Instruction kFromText{
    R"(你为文字生成视频的模型撰写提示词。用户会给出一段简短的描述，请把它扩写成一段完整、具体、富有画面感的中文提示词。
要求：
1. 保留用户的原意：人物、物体、动作、数量和他们之间的关系都不得改变，也不要增加用户没有提到的主角。
2. 写清楚主体的样子（外貌、衣着、姿态、表情、材质、颜色）以及背景中的细节。
3. 按先后顺序说明动作如何发生；如果用户没有写动作，就补充一个自然的动作，背景也可以有轻微的运动，例如云、水、树叶。
4. 从电影拍摄的角度挑选几项合适的设定并写进去：时间、光源、光线的软硬和方向、色调、景别、拍摄角度、构图。没有说明时以白天、中景或全景为宜；用户已经写了镜头运动时，不要再加拍摄角度。
5. 用户指定了风格时，把风格写在最前面；动画、插画等风格不需要电影设定。没有指定就不要添加风格。
6. 只写画面中看得见的内容，不写感受和评论。
7. 长度约60到200字，写成一段，只输出提示词本身，不要标题、引号或解释。)",
    R"(You write prompts for a model that makes videos from text. The user gives a short description; expand it into one complete, concrete and visual prompt in English, whatever language the user writes in.
Rules:
1. Keep what the user means: people, things, actions, their number and how they relate must not change, and no further main subject may appear.
2. Describe what the subjects look like (features, clothes, posture, expression, material, colours) and the details of the background.
3. Tell how the action happens, step by step. Where the user names none, add a natural one; the background may move a little as well, such as clouds, water or leaves.
4. Choose up to four fitting decisions of a film crew and write them in: time of day, source of light, softness and direction of light, colour tone, shot size, camera angle, composition. Without other hints it is day, in a medium or a wide shot; where the user describes how the camera moves, add no camera angle.
5. A style that the user names comes first, and styles such as animation or illustration need no film terms. Add no style of your own.
6. Write only what can be seen, no feelings or comments.
7. About 60 to 200 words in one paragraph. Answer with the prompt alone, without a title, quotation marks or explanations.)"};

constexpr Instruction kFromImage{
    R"(你为图片生成视频的模型改写提示词。你会看到一张图片和用户的描述，视频从这张图片开始。请根据图片和描述，写一段强调动态内容的中文提示词。
要求：
1. 保留用户描述中的动作和镜头运动，例如镜头上移、从左到右移动、推近、拉远。
2. 用简短的词说明图片中是谁或什么在动；用户只写了动作时，根据图片补充主体。
3. 描述太长时提炼出动作的过程；太短时根据图片合理补充可能发生的动作。
4. 不要描述图片中已经看得到的静态内容，也不要添加图片里没有的主体。
5. 不超过100字，写成一段，无论用户使用什么语言都输出中文，只输出提示词本身，不要解释。)",
    R"(You rewrite prompts for a model that makes videos from a picture. You see the picture, with which the video begins, and the user's description. Write one prompt in English, whatever language the user writes in, that stresses what moves.
Rules:
1. Keep the actions and the camera's movements of the description, such as panning up, moving from left to right, pushing in or pulling back.
2. Say in few words who or what of the picture moves; where the user gives an action alone, add its subject from the picture.
3. Reduce a long description to its course of action; add to a short one what could plausibly happen in the picture.
4. Do not describe what can already be seen and stands still, and add no subject that the picture does not show.
5. At most 100 words in one paragraph. Answer with the prompt alone, without explanations.)"};

constexpr Instruction kFromImageAlone{
    R"(你为图片生成视频的模型撰写提示词。你会看到一张图片，视频从这张图片开始，用户没有给出描述。请想象这张图片接下来会怎样动起来，写一段中文提示词。
要求：
1. 根据图片决定由谁或什么来运动，并说明动作的过程；也可以写镜头的运动。
2. 只强调动态内容，不要过多描述静态的画面，也不要添加图片里没有的主体。
3. 不超过100字，写成一段，只输出提示词本身，不要解释。)",
    R"(You write prompts for a model that makes videos from a picture. You see the picture, with which the video begins; the user gives no description. Imagine how the picture comes to life and write one prompt in English.
Rules:
1. Decide from the picture who or what moves, and tell how; the camera may move too.
2. Stress what moves, describe little of what stands still, and add no subject that the picture does not show.
3. At most 100 words in one paragraph. Answer with the prompt alone, without explanations.)"};

const Instruction& instruction_of(const GenerationRequest& request) {
  const bool has_image = !request.image.empty();
  const TaskFacts& facts = find_task(request.task).facts();
  WAN_CHECK_FIELD(
      facts.extends_prompts, kUnsupported, "use_prompt_extend",
      "prompts of {} are not extended: there is no instruction for it; leave prompt extension out",
      request.task);
  WAN_CHECK_FIELD(!has_image || facts.takes_image, kInvalidArgument, "image",
                  "{} makes its video from `prompt` alone; leave the image out or name another `task`",
                  request.task);
  WAN_CHECK_FIELD(is_plain_utf8(request.prompt), kInvalidArgument, "prompt",
                  "expected UTF-8 text; convert the prompt to UTF-8");
  if (!has_image) return kFromText;
  // A picture that may be left out is described by it, not by its absence from the prompt.
  return facts.needs_image && request.prompt.empty() ? kFromImageAlone : kFromImage;
}

std::string read_instruction(const std::filesystem::path& path) {
  constexpr std::size_t kMost = 64 << 10;
  const MappedFile file(path);
  const std::size_t size = file.bytes().size();
  std::string text(reinterpret_cast<const char*>(file.bytes().data()), size <= kMost ? size : 0);
  file.check_whole();
  WAN_CHECK(!text.empty() && is_plain_utf8(text), kBadFile,
            "{}: expected an instruction in UTF-8, of at most {} KB", path.string(), kMost >> 10);
  return text;
}

}  // namespace

std::string instruction_for(const GenerationRequest& request, const PromptExtension& extension) {
  const std::string& language = extension.prompt_extend_target_lang;
  WAN_CHECK(language == "zh" || language == "en", kInvalidArgument,
            "`prompt_extend_target_lang` {}: expected zh or en", language);
  const Instruction& instruction = instruction_of(request);
  if (!extension.prompt_extend_system.empty())
    return with_field("prompt_extend_system",
                      [&] { return read_instruction(extension.prompt_extend_system); });
  return language == "zh" ? instruction.zh : instruction.en;
}

}  // namespace wan
