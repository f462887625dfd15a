"""The prompts of the text golden set: ordinary ones in many scripts, and one or more for every rule of the cleaning and
of the tokenizers."""

DEFAULT_NEGATIVE = ("色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
                    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走")

# What the tokenizers are trained on, and half of the ordinary prompts.
CORPUS = """a red circle moves right on a blue background
a small green square drifts slowly to the left over a yellow background
the blue triangle jumps up and down while the camera stays still
two cats in boxing gloves fight on a lit stage, cinematic lighting, 4k
an old fisherman repairs his nets at dawn; waves break against the pier
close-up of rain on a window, city lights blurred behind it
a drone shot over snowy mountains, slow motion, golden hour
she opens the letter, reads it twice, and smiles at the child
time lapse of clouds racing over a desert with tall cacti
a robot paints a portrait of a woman, oil on canvas, warm colours
one two three four five six seven eight nine ten, 0 1 2 3 4 5 6 7 8 9
红色的圆在蓝色背景上向右移动
一只白猫戴着墨镜坐在冲浪板上，背景是海滩和蓝天
镜头缓慢推进，夜晚的城市灯光闪烁，电影感，高清
色调艳丽,静态,细节模糊不清,字幕,风格,作品,画面,静止,最差质量,低质量
赤い円が青い背景の上を右に動く
桜の花びらが風に舞う古い寺、静かな朝、映画のような光
カメラはゆっくりと海に近づく。波の音が聞こえる
빨간 원이 파란 배경 위에서 오른쪽으로 움직인다
눈 덮인 산 위를 나는 드론 촬영, 느린 화면
دائرة حمراء تتحرك إلى اليمين على خلفية زرقاء
قطة صغيرة تنام بجانب النافذة في يوم ممطر
लाल वृत्त नीली पृष्ठभूमि पर दाईं ओर चलता है
एक बूढ़ा मछुआरा सुबह अपने जाल की मरम्मत करता है
красный круг движется вправо на синем фоне
старый рыбак чинит сети на рассвете, волны бьются о причал
ein roter Kreis bewegt sich nach rechts auf blauem Grund, schön und größer
un cercle rouge se déplace vers la droite sur un fond bleu, très doucement
un círculo rojo se mueve a la derecha sobre un fondo azul, el niño corre
o círculo vermelho move-se para a direita, as crianças correm até à praia
czerwone koło porusza się w prawo na niebieskim tle, żółta łódź
červený kruh se pohybuje doprava na modrém pozadí, příliš žluťoučký kůň
kırmızı daire mavi arka planda sağa hareket eder, güneş batıyor
ένας κόκκινος κύκλος κινείται δεξιά σε μπλε φόντο
một hình tròn đỏ di chuyển sang phải trên nền xanh
วงกลมสีแดงเคลื่อนที่ไปทางขวาบนพื้นหลังสีน้ำเงิน
עיגול אדום נע ימינה על רקע כחול
sarkanā aplis virzās pa labi uz zila fona, ļoti lēni
""".strip().splitlines()

MOJIBAKE_PHRASES = ["schön größer", "voilà, été déjà", "niño corazón", "“quoted” – ‘it’s’ …", "красный круг", "ένας κύκλος",
                    "żółta łódź", "příliš žluťoučký", "güneş", "红色的圆", "赤い円が", "빨간 원", "دائرة حمراء", "लाल वृत्त", "✔ 👍🏽 😀", "ļoti lēni"]
MOJIBAKE_CODECS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
                   "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]

# Each fires one rule of the heuristic and no other, as far as rules can be told apart.
RULES = ["\x9c", "Â¯", "xΒ\ufffd", "¬ß", "┬É", "┬é", "ß€", " Â¥", "Å¹", "à«±", "ď˝„", "┬«", "fĂ©", "├û", "αñ▓", "┬»", "ë¡œ", "Œæ", "À°", "Ãâ", "×³≈",
         "Ø\xadÙ…", "–àµ±", "√∂", "≈°", "‚Äî", "‚âà", "вЂў", "Г„В‡", "ГўВЂВ™tis", "Ã¡ Ã\xa0", "lÃ  x", "l Ã  x", "Ã ", "l9Ã  x", ".Â x", "β€Ά", "Β°Γ„", "ā€œ", "Ангел Œuvre Ångström",
         "×²", "”Â “"]

DAMAGED = ["voilÃ le travail", "Ã la mode, Ã quel point, Ã quele, Ã s vezes, Ã  la", "â€œquoteâ€\ufffd", "â€œquoteâ€?", "dâ\ufffd\ufffdt", "Ã? Ã\ufffd", "ð\x9f\x98\x80 ð\x9f\ufffd\x80",
           "ï¿½ï¿½", "í\xa0½í¸\x80", "í ½í¸€", "À\x80x Ã©", "Ã© í\xa0\x80í°\n", "Ã© À\n", "âœ” No problems", "Ã¢â‚¬Å“doubleÃ¢â‚¬Â\x9d", "ÃƒÆ’Ã‚Â© three times", "l’humanitÃ© et â€™ Привет",
           "РџСЂРёРІРµС‚, мир", "РџСЂРёРІРµС‚ – Привет", "â\x80\x9cmixedâ\x80\x9d “real”", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "æ—¥æœ¬èªž", "ë¹¨ê°„ ì›", "Ù…Ø±Ø­Ø¨Ø§", "à¤¹à¤¿à¤¨à¥à¤¦à¥€", "caf\x85 \x93hi\x94 \x99",
           "Ã\xadndice â‚¬ 5", "a â€” b", "âˆš√§on", "Ê¦Ê‚Ê‚", "ã\x81\x82 ã\x81 x", "ð\xa0x\x80 ð x x", "\x1aÃ©", "Ã©\x1a", "Ã©\ufffd x", "ß", "ÐÐ½Ð´ÑÐµÐ¹", "Â\xa0Â®", "(╯°□°)╯︵ ┻━┻", "¯\\_(ツ)_/¯", "2×3² ± ½",
           # a space for a no-break space in each place of a sequence, and where it is not one
           "â ” Ã©", "ð ˜€ Ã©", "ðŸ € Ã©", "ðŸ˜ Ã©", "â … Ã©", "√© – x", "Ã quela Ã©", "Ã quilo Ã©", "aÃ  la Ã©",
           # a lost byte in each place of a sequence
           "í\xa0\ufffdí°€ Ã©", "í\xa0€í°\ufffd Ã©", "â\ufffd€ Ã©", "ð\ufffd˜€ Ã©", "ðŸ\ufffd€ Ã©", "ðŸ˜\ufffd Ã©", "\x1cÂ¥"]

ENTITIES = ["&lt;tag&gt;", "&amp;lt;b&amp;gt;", "&amp;amp;lt;", "&amp;amp;amp;amp;lt;", "P&eacute;REZ P&EACUTE;REZ", "&NTILDE; &nTILDE; &Ntilde;", "BUNDESSTRA&SZLIG;E", "&hellip;&mdash;&ldquo;x&rdquo;",
            "&Jscr;ohn &HilbertSpace;ancock", "&NotEqualTilde;&acE;&bne;&fjlig;", "&CounterClockwiseContourIntegral;", "this&not that", "&notit; &notin; &notinx", "&ampamp;", "&amp", "AT&T &c. &",
            "&copy2024 &copy;2024 &COPY;", "&#65;&#x42;&#X43;&#068;", "&#65 &#x42 &#X43z", "&#150; &#x80; &#x9f; &#133;", "&#0; &#xD800; &#x110000; &#99999999999999999999;", "[&#1;&#xFDD0;&#x1FFFF;&#11;&#127;]",
            "&#13;&#10;&#9;x", "&# &#; &#x; &#xg;", "&#12ab; &#59; &#x3b;", "&abcdefghijklmnopqrstuvwxyzabcdefghijk;", "&é; &eacuteé;", "<b>&eacute; &amp;eacute;</b>", "x &amp;lt; y\n<p>\n&amp;lt;&NTILDE;",
            "&NTILDE;\n<\n&NTILDE;", "&Atilde;&copy;", "&nbsp;&nbsp;x&nbsp;y&nbsp;", "&quot;it&apos;s&quot; &#39;", "&zwj;&shy;x", "&ThickSpace;x&NewLine;&Tab;y", "&fflig;&ffilig;", "&lt;/s&gt; &lt;extra_id_3&gt;",
            "&DoubleLongLeftRightArrow;", "&HEARTS; &hearts;", "&QUOT;&APOS;&EURO;"]

SPACES_AND_CONTROLS = ["", " ", "   \t\n ", "\u3000\u2003\xa0", "a\r\nb\rc\nd", "a\u2028b\u2029c\x85d", "a\tb\fc\vd", "a\x1cb\x1dc\x1ed\x1f", "\x1ca\x1f", "a\xa0b\u2007c\u202fd\u205fe\u1680f", "a\u180eb\u200bc\u2060d",
                       "\ufeffbom", "a\ufeffb\ufffcc\ufff9d", "\u206aa\u206f", "\x00a\x07b\x7f", "zero\u200bwidth\u200cjoin\u200der\u200e\u200f", "soft\u00adhyphen", "\x1b[31mred\x1b[0m \x1b[1;38;5;12mx\x1b[K",
                       "\x1b[ \x1b] \x1b[12", "\x1b[3١m", "\x1b[[31mm", "a   b    c", "a \u2003 b", " leading", "trailing ", "x\ufffdy", "\u2066iso\u2069 \u202ebidi\u202c", "\U000e0001tag\U000e007f", "\x85 \x91quoted\x92"]

CHARACTERS = ["ＬＯＵＤ　ＮＯＩＳＥＳ，１２３！", "Ｕﾀｰﾝ ｶﾞ ﾊﾟ ｱｲｳ", "ﾻﾡ ￦ ￣ ￩", "“curly” ‘quotes’ „low‟ ‚x‛ ʼn", "ﬁne ﬂow oﬀ aﬃx aﬄict ﬅ ﬆ", "ĲSSEL ĳs ŉ Ǆ ǅ ǆ Ǉ ǈ ǉ Ǌ ǋ ǌ Ǳ ǲ ǳ", "e\u0301 a\u0308\u0323 o\u0302\u0301", "\u0344 \u212b \u2126 \u1e9b\u0323",
              "\u1100\u1161\u11a8 \uac00\u11a8", "क\u093c \u0958 कि की क्षेत्र ज्ञान", "לָא שָׁלוֹם", "لَا إِلَٰهَ إِلَّا", "ﷲ ﷺ ﻻ", "① ② Ⅷ ㎏ ㌔ ℃ ™ ½ ²", "𝒥𝓸𝓱𝓷 𝟙𝟚 ℌ", "ﬁ\u0301 ½\u0301 ①\u20dd ｱ\u3099 か\u3099",
              "x\u0301 x\u0301\u0302\u0303 \u0301x", "x\u20e3 1\ufe0f\u20e3 ❤\ufe0f", "À\u20d0x À\U000e0100x", "\u0e33 \u0eb3 ำ", "\u0f71\u0f72 \u0f73", "ǰ\u0323 ΐ ΰ", "…—–―‐‑‒•·", "。、「」『』【】《》", "ﾞ ﾟ ゛ ゜", "¿Qué? ¡Sí!", "œuvre Œ", "ſ ß ẞ", "İ ı i\u0307",
              "﹏ ﹖ ︵ ︙", "〜～∼ ￢¬", "豈更車", "丽\U0002f800", "\U0001d15e \U0001d1bb", "\u2f00\u2e9f", "ｈｔｔｐ：／／ｘ．ｙ"]

EMOJI = ["👍 👍🏽", "👨‍👩‍👧‍👦 family", "🏳️‍🌈 🏴‍☠️", "🇯🇵🇩🇪🇫🇷 flags", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️ ❤ ☺️ ☺︎", "🧑🏿‍🚀👩🏻‍🦰", "a😀b😂c", "🤷‍♀️🤦🏼‍♂️ shrug", "#️⃣ *️⃣ 0️⃣", "🫠🫡 new", "😀" * 20]

LITERALS = ["</s>", "a</s>b", "a </s> b", "<pad><unk></s>", "<s> </s>", "<extra_id_7>", "x<extra_id_7>y <extra_id_0> <extra_id_299> <extra_id_300>", "<extra_id_70>", "<extra_id_ 7>", "< /s>", "<0x41><0xE4>", "<PAD>",
            "▁", "▁▁a", "a▁b ▁ c", " ▁a", "<mask> <sep>", "<mask>s a<mask> <mask>", "x  <lr>  y", "<l> <r> x <l><r> <l>", "Word word Wordy aWord Word.", "<user>x<user> <ctrl>", "<NORM> ＜ＮＯＲＭ＞ <norm>", "<extra_id_7></s><extra_id_8>  z", "</s></s>",
            "&lt;/s> &#60;pad>", "a  <sep>  b <mask>  c", "a <extra_id_1>  b"]

UNKNOWN = ["𓀀𓀁 𓂀", "ꙮ", "𝕬𝖇𝖈", "ᚠᚢᚦ runes", "x𓀀y𓀀𓀀z", "\U0010ffff", "\ue000\uf8ff", "ⵣ ⴰⵣⵓⵍ", "ጤና ይስጥልኝ", "ᐃᓄᒃᑎᑐᑦ", "𓀀</s>𓀀", "~`^|\\{}[]@#$%*+=", "ßẞŋƕ", "ⱠⱢ"]

ORDINARY = ["a red circle moves right on a blue background", "A RED Circle, moves RIGHT; on a (blue) background!", "don't stop: it's 3.14 or 1,000,000.5?", "supercalifragilisticexpialidocious antidisestablishmentarianism",
            "https://example.com/a?b=c&d=e#f", "e-mail me@example.org now", "C++ && Rust || Go", "100% of €5 is £4.30", "snake_case camelCase kebab-case", "Mix 中文 and English 和 日本語 text", "1girl, solo, (masterpiece:1.2), [best quality]",
            "a\nb\n\nc", "The  quick   brown    fox", "ALL CAPS PROMPT WITH NO PUNCTUATION", "日本語と中文の混在", "한국어 문장입니다.", "Привет, мир! Ёжик.", "Καλημέρα κόσμε", "مرحبا بالعالم ١٢٣", "नमस्ते दुनिया १२३", "สวัสดีชาวโลก", "שלום עולם",
            "Xin chào thế giới", "Příliš žluťoučký kůň úpěl ďábelské ódy", "Zażółć gęślą jaźń", "Fix, Schwyz! quäkt Jürgen blöd vom Paß", "Árvíztűrő tükörfúrógép", "Œuvre, cœur, naïve, façade", "Ça va? Où? À bientôt", "São João, coração",
            "x" * 200, "的" * 60, "camera: 35mm f/1.8 ISO 100"]

LONG = ["a red circle moves right on a blue background, " * 60, DEFAULT_NEGATIVE * 5, "slow </s> motion " * 300, "word " * 510, "word " * 511, "word " * 512, "𓀀 x" * 300]


def prompts() -> list[str]:
  import ftfy.bad_codecs  # noqa: F401  registers the sloppy codecs
  made = []
  for phrase in MOJIBAKE_PHRASES:
    for codec in MOJIBAKE_CODECS:
      try:
        made.append(phrase.encode().decode(codec))
      except UnicodeDecodeError:
        pass
  everything = ([DEFAULT_NEGATIVE] + CORPUS + ORDINARY + CHARACTERS + EMOJI + SPACES_AND_CONTROLS + ENTITIES + RULES + DAMAGED + LITERALS +
                UNKNOWN + made + LONG)
  return list(dict.fromkeys(everything))
