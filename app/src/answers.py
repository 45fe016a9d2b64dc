"""What the API answers, as its OpenAPI description shows it. Times are in seconds of the recording."""
# an extra
# pyright: reportMissingImports=false
from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="one line: what was found, what was expected, what to do")


class Verdict(BaseModel):
    """Whether two recordings are of one speaker."""

    score: float = Field(description="cosine of the two voices, -1 to 1")
    threshold: float = Field(description="the least score of one speaker")
    same: bool
    llr: float | None = Field(description="log-likelihood ratio; null: the checkpoint is not calibrated")


class Voices(BaseModel):
    """The voices of a recording."""

    rate: int = Field(description="Hz, that of the recording")
    seconds: float
    voices: list[str] = Field(description="a wav of 16 bits each, in base64; where one would be "
                              "clipped, all are turned down alike")
    levels: list[float] = Field(description="dB, of each voice against the recording")
    audible: list[bool] = Field(description="of each voice; false: nobody, only what is left of the others")


class Word(BaseModel):
    """A word and when it is said."""

    text: str
    start: float
    end: float


class Transcript(BaseModel):
    """What is said in a recording."""

    seconds: float
    text: str
    words: list[Word]


class Turn(BaseModel):
    """What one speaker says without a long pause."""

    start: float
    end: float
    speaker: str
    text: str
    words: list[Word]


class Meeting(BaseModel):
    """Who said what."""

    seconds: float
    overlap_seconds: float = Field(description="in which two speak at once")
    speakers: list[str] = Field(description="in the order in which they begin")
    real_time_factor: float
    turns: list[Turn]
