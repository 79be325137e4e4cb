"""What a server allows, and what it says to a request that it does not take."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ServeSettings(BaseModel):
    """The limits of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "judge"
    """As `/v1/models` names the judge."""
    key: str | None = None
    """What clients have to show; None: nothing."""
    files: Path | None = None
    """Folder below which requests may name pictures and documents; None: they bring them along."""
    save: Path | None = None
    """Folder that trajectories are kept in; None: nowhere."""
    workers: int | None = Field(default=None, ge=1)
    """Judgments in flight at once; None: as many as the model can use."""
    queue: int = Field(default=128, ge=1)
    """Requests that may wait for a place; those beyond are asked to come again."""
    seconds: float = Field(default=600, gt=0)
    """That a request may take, waiting included."""
    body_mib: float = Field(default=32, gt=0)
    """Size of a request."""
    megapixels: float = Field(default=64, gt=0)
    """Of all pictures of a request together."""
    pages: int = Field(default=500, ge=1)
    """Of a document."""
    batch: int = Field(default=256, ge=1)
    """Tasks, and questions, of a request."""
    judgments: int = Field(default=1024, ge=1)
    """Rollouts that a request may ask for: tasks times orders times votes."""


class Refusal(Exception):
    """What a request gets instead of an answer: a sentence that names the value, what is allowed, and the fix."""

    def __init__(
        self,
        message: str,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.message, self.status, self.kind, self.headers = message, status, kind, headers or {}

    @property
    def body(self) -> dict[str, object]:
        """OpenAI's form of an error."""
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": None}}
