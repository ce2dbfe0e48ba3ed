"""The configuration of a language model."""

from pydantic import Field, model_validator

from seqserve.training.config.training import TrainingConfig


class LanguageModelConfig(TrainingConfig, frozen=True):
    """A character-level language model, trained by truncated backpropagation through time with carried state."""

    batch_size: int = Field(default=64, ge=1, description="Streams that the text is cut into.")
    window: int = Field(default=64, ge=1, description="Steps that gradients go back.")
    validation_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Last part of the text, to validate on. Default: 0.1 without --validation.",
    )
    state_reset: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Probability that a stream starts from the initial state at a window.",
    )
    unknown_token: bool = Field(default=False, description="Map unseen characters to a token instead of refusing them.")

    @model_validator(mode="after")
    def _one_source_of_validation(self) -> "LanguageModelConfig":
        if self.validation and self.validation_fraction is not None:
            raise ValueError("validation and validation_fraction exclude each other: give one of them")
        return self
