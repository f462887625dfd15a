"""What the official Wan2.2 code does with a prompt, in terms of the libraries that it calls."""
import html

import ftfy
import regex

MAX_TOKENS = 512


def clean(prompt: str) -> str:
  text = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
  return regex.sub(r"\s+", " ", text).strip()


def load_tokenizer(folder: str):
  from transformers import AutoTokenizer
  return AutoTokenizer.from_pretrained(folder)


def tokenize(tokenizer, cleaned: str, max_tokens: int = MAX_TOKENS) -> tuple[list[int], list[int]]:
  """Ids and attention mask, each `max_tokens` long."""
  encoded = tokenizer([cleaned], padding="max_length", truncation=True, max_length=max_tokens, add_special_tokens=True)
  return encoded.input_ids[0], encoded.attention_mask[0]
