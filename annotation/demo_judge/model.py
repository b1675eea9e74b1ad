"""The demo's judge as a model: its tokenizer, its network, and logits of batches of prompts."""

import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from annotation.prompts.prompt import Document, load_prompt

CONTEXT_LENGTH = 512  # tokens of prompt and answer
END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(texts: list[str], vocabulary: int = 1024) -> Qwen2Tokenizer:
    """Trains a tokenizer as Qwen2 has it, byte-level BPE, which can encode any text.

    Transformers and vLLM load the tokenizer of a Qwen2 model as this class, whatever is written
    beside it; another one would part the same text in another way there.

    Args:
        texts: texts to learn from; the pointwise prompt is added to each.
        vocabulary: the number of tokens.
    """
    # The judge reads the prompt with every document; the fence differs each time.
    prompt = load_prompt().compile()("", [Document("", "")], fence="")
    empty = Qwen2Tokenizer(eos_token=END_OF_TEXT, pad_token=END_OF_TEXT, unk_token=END_OF_TEXT)
    trained: Qwen2Tokenizer = empty.train_new_from_iterator(  # type: ignore[no-untyped-call]
        [*texts, *[prompt] * len(texts)], vocabulary, show_progress=False
    )
    return trained


def new_model(tokenizer: Qwen2Tokenizer, texts: list[str]) -> Qwen2ForCausalLM:
    """A small Qwen2 model, untrained but for its word embeddings.

    Args:
        tokenizer: its tokenizer, which sizes the vocabulary.
        texts: texts to initialize the embeddings from, see `_embed_words`.
    """
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT_LENGTH,
            tie_word_embeddings=True,
            initializer_range=0.08,  # about 1 / sqrt(hidden size); the default suits wide models
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    _embed_words(model, tokenizer, texts)
    model.set_attn_implementation("eager")  # on a CPU its gradient takes half of sdpa's time
    return model


def logits_after_shared(model: Qwen2ForCausalLM, tokens: torch.Tensor, shared: int) -> torch.Tensor:
    """Logits of the next token at each token from `shared` on; the shared prefix runs once.

    Args:
        model: the judge.
        tokens: token ids, int64, shape (batch, length), padded at the end.
        shared: the number of leading tokens that are the same in each row.

    Returns:
        Float tensor, shape (batch, length - shared, vocabulary).
    """
    cache = model.model(tokens[:1, :shared], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(tokens))
    hidden = model.model(tokens[:, shared:], past_key_values=cache).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden)
    return logits


def pad(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads prompts with zeros at the end.

    Args:
        prompts: token ids of each prompt.

    Returns:
        Token ids, int64, shape (batch, longest), and the index of each prompt's last token, int64,
        shape (batch,).
    """
    rows = [torch.tensor(token_ids) for token_ids in prompts]
    last = torch.tensor([len(row) - 1 for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), last


def _embed_words(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, texts: list[str]) -> None:
    """Initializes the embeddings by latent semantic analysis (Deerwester et al., JASIS 1990).

    Words that occur in the same texts start close together, so that the model need not learn first
    which words are related. Embeddings of tokens that are not in `texts` stay as they are.
    """
    counter = CountVectorizer(
        analyzer=tokenizer.tokenize, vocabulary=tokenizer.get_vocab(), lowercase=False, binary=True
    )
    weighted = TfidfTransformer().fit_transform(counter.fit_transform(texts))
    embeddings = model.model.embed_tokens.weight.detach()
    analysis = TruncatedSVD(embeddings.shape[1], random_state=0).fit(weighted)
    found = torch.from_numpy(analysis.components_.T).float()
    norm = found.norm(dim=1, keepdim=True)
    scaled = found / norm * embeddings.norm(dim=1, keepdim=True)
    embeddings.copy_(torch.where(norm > 1e-6, scaled, embeddings))
