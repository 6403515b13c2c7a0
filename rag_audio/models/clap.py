"""Sound and words in one space, by ``transformers.ClapModel``.

Wu et al., "Large-scale contrastive language-audio pretraining with feature fusion and
keyword-to-caption augmentation", ICASSP 2023 (arXiv:2211.06687).

Same file, same vector, always: windows are fixed, nothing is cropped at random, fusion is off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_audio.domain import Audio
from rag_audio.models.clap_checkpoint import checkpoint_folder, open_checkpoint
from rag_audio.models.clap_frontend import (
    TEXT_TOKENS,
    BatchedEmbedder,
    LogMel,
    SpaceFacts,
    TextSetup,
    facts_file,
    fixed_windows,
    read_facts,
    space_id,
    tokenize,
    write_facts,
)
from rag_audio.models.unknown_tokens import reads_all, text_reader

if TYPE_CHECKING:
    import torch

    from rag_audio.models.clap_text import TextBranch

_CPU_GROUP = 4
"""Clips that go through the model together on a CPU, where 32 cost a fifth more time each."""


class ClapEmbedder(BatchedEmbedder):
    """Embeds audio and text with a CLAP checkpoint; implements :class:`.Embedder`.

    Its attributes are cached per checkpoint, so that the weights are loaded when something is
    embedded, or when the checkpoint is new here or was changed.

    Args:
        source: a directory written by ``save_pretrained``, a name on the hub, or a LAION ``.pt``
            file (HTSAT-tiny or -base, no fusion). The directory's ``rag_audio.json`` may say
            ``untrained``.
        device: of the front end and the model; ``auto`` takes CUDA when there is one.
        batch_size: clips or texts that go through the model together.
        tokenizer: replaces the checkpoint's: a directory, a hub name or an object. LAION files have
            none: without this, ``roberta-base``'s is taken from beside the file or from the hub.

    Raises:
        BackendUnavailable: the checkpoint or the device is not available.
        InvalidInput: ``batch_size`` below 1.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        tokenizer: Any = None,
    ) -> None:
        super().__init__(batch_size)
        if device not in ("auto", "cpu"):  # those two are everywhere
            from rag_audio.models.device import pick_device

            pick_device(device)
        self._source, self._tokenizer, self._device = source, tokenizer, device
        self._opened: _Model | None = None
        self._branch: TextBranch | None = None
        self._reader: Callable[[str], bool] | None = None
        facts = self._facts()
        self._text = facts.text
        self._show(facts)

    def _facts(self) -> SpaceFacts:
        """What the cache says of the checkpoint, or else its weights."""
        folder = self._folder = checkpoint_folder(self._source) if self._tokenizer is None else None
        if folder is None:
            return self._model().facts()
        file = facts_file(folder, str(self._source))
        facts = read_facts(file)
        if facts is None:
            facts = self._model().facts()
            if facts_file(folder, str(self._source)) == file:  # nobody changed it meanwhile
                write_facts(file, facts)
        return facts

    def _model(self) -> _Model:
        """The weights, loaded at the first call."""
        if self._opened is None:
            self._opened = _Model(self._source, self._tokenizer, self._device)
        return self._opened

    def _embed_clips(self, clips: Sequence[Audio]) -> torch.Tensor:
        model = self._model()
        return model.embed_features(model.front_end(fixed_windows(clips, model.mel)))

    def can_read(self, text: str) -> bool:
        """See :class:`rag_audio.domain.ports.ReadsText`."""
        with self._one_at_a_time:
            if self._text is None:
                return reads_all(self._model().tokenizer, text)
            if self._reader is None:
                self._reader = text_reader(self._text.tokenizer)
        return self._reader(text)

    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """By the text branch alone, where it can be had without the rest."""
        if self._text is None:
            return self._model().embed_texts(texts)
        if self._branch is None and self._opened is None and self._folder is not None:
            from rag_audio.models.clap_text import TextBranch
            from rag_audio.models.device import pick_device

            device = pick_device(self._device)
            self._branch = TextBranch.of_folder(self._text, self._folder, device)
        if self._branch is None:
            self._branch = self._model().text_branch(self._text)
        return self._branch.embed(texts)


class _Model:
    """The weights of a checkpoint on their device, and the front end that they want.

    Raises:
        BackendUnavailable: the checkpoint or the device is not available.
    """

    def __init__(self, source: str | Path, tokenizer: Any, device: str) -> None:
        from rag_audio.models.device import pick_device

        self._device = pick_device(device)
        self._checkpoint = open_checkpoint(source, tokenizer)
        self.mel, self.tokenizer = self._checkpoint.mel, self._checkpoint.tokenizer
        text = self._checkpoint.model.config.text_config
        positions = int(text.max_position_embeddings) - int(text.pad_token_id or 0) - 1
        longest = int(self.tokenizer.model_max_length)
        self._text_tokens = min(TEXT_TOKENS, positions, longest)
        self._clap = self._checkpoint.model.to(self._device)
        self.front_end = LogMel(self.mel, self._device)

    def facts(self) -> SpaceFacts:
        """What the embedder says of itself; every weight is read."""
        checkpoint = self._checkpoint
        return SpaceFacts(
            name=checkpoint.name,
            space=space_id("clap", self._clap, self.mel, self.tokenizer),
            dimension=int(self._clap.config.projection_dim),
            sample_rate=self.mel.sample_rate,
            window_s=self.mel.window_s,
            untrained=checkpoint.untrained,
            text_weight=checkpoint.text_weight,
            logit_scale=float(self._clap.logit_scale_a.detach().exp()),
            text=TextSetup.of(self._clap.config.text_config, self.tokenizer, self._text_tokens),
        )

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """``[N, D]`` of any length, for one batch of texts."""
        import torch

        tokens = tokenize(self.tokenizer, texts, self._text_tokens)
        with torch.inference_mode():
            output = self._clap.get_text_features(
                input_ids=tokens["input_ids"].to(self._device),
                attention_mask=tokens["attention_mask"].to(self._device),
            )
        made: torch.Tensor = output.pooler_output
        return made

    def text_branch(self, setup: TextSetup) -> TextBranch:
        """The text branch on these weights, which are not copied."""
        from rag_audio.models.clap_text import TextBranch

        return TextBranch(setup, self._clap.state_dict(), self._device)

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """``[N, D]`` of any length, for the front end's features of N clips."""
        import torch

        # Small groups stay in a CPU's cache; a GPU wants the whole batch.
        group = _CPU_GROUP if features.device.type == "cpu" else len(features)
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(features), group):
                part = features[start : start + group]
                # Always "not longer": transformers would pick one clip of each batch at random.
                not_longer = torch.zeros((len(part), 1), dtype=torch.bool, device=part.device)
                output = self._clap.get_audio_features(input_features=part, is_longer=not_longer)
                vectors.append(output.pooler_output)
            return torch.cat(vectors)
