"""Model cards: what a weights file is, how its network is fed, and under which licence it comes.

A card is a JSON file. Those of well-known weights lie in `facesearch/encoders/known/`, one file each; each
says what its own documents say, and whether it was tried here. A card states a hash or an address only where
a document that was read gives it.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from facesearch.errors import InvalidConfig
from facesearch.records import Calibration, ModelOrigin

Kind = Literal["plain", "mirror"]
ALL_KINDS: tuple[Kind, ...] = ("plain", "mirror")
Point = tuple[float, float]

ARCFACE_TEMPLATE: tuple[Point, ...] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where the landmarks go in 112 x 112 pixels, as the recognition networks of InsightFace were trained."""

_KNOWN = Path(__file__).with_name("known")

RECOGNITION = frozenset({"dlib", "arcface"})
RUNNABLE = frozenset({"dlib", "arcface", "centerface", "yunet"})
"""The families that this version has code for."""

MOST_NUMBERS = 1024
"""The longest vectors that the database stores."""

UNMEASURED_TOLERANCE = 1.1
"""Where nobody has measured vectors of length 1: their cosine is then 0.395 or more."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """What a recognition network is fed: (pixel - mean) / divisor, as (n, 3, height, width) or NHWC.

    `channels` is the order in which the network takes them, and that of `mean` and `divisor`.
    """

    width: Annotated[int, Field(ge=16, le=1024)] = 112
    height: Annotated[int, Field(ge=16, le=1024)] = 112
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    divisor: tuple[float, float, float] = (127.5, 127.5, 127.5)


class Output(_Part):
    """What it gives: vectors compared by cosine are brought to length 1, others divided by `divisor`."""

    dimension: Annotated[int, Field(ge=2, le=MOST_NUMBERS)]
    metric: Literal["cosine", "euclidean"] = "cosine"
    divisor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Licence(_Part):
    """Of the weights, not of the code around them. `commercial_use` is None where no document says."""

    name: str
    commercial_use: bool | None
    url: str | None = None
    note: str | None = None

    @property
    def commercial(self) -> str:
        """`yes`, `no` or `unknown`: whether the weights may be used commercially."""
        return {True: "yes", False: "no", None: "unknown"}[self.commercial_use]


class Source(_Part):
    """Where the card's facts come from, and where the file is.

    `document` names what was read. `url` is where a document says that the file lies, `obtain` how to come
    by it otherwise.
    """

    document: str
    url: Annotated[str, Field(pattern=r"^https://[^\s]+$")] | None = None
    obtain: str | None = None


class Space(_Part):
    """One way to make vectors of crops: `plain`, or `mirror`, with the crop's mirror image added.

    `tolerance` is the Euclidean distance up to which two vectors count as one person by default.
    """

    tolerance: Annotated[float, Field(gt=0, le=2)]
    calibration: Calibration | None = None

    @field_validator("calibration")
    @classmethod
    def _is_in_order(cls, value: Calibration | None) -> Calibration | None:
        rates = value.rates if value else ()
        if not all(0 < point.false_match_rate < 1 for point in rates):
            raise ValueError("false match rates lie between 0 and 1")
        if not all(
            a.false_match_rate > b.false_match_rate and a.tolerance >= b.tolerance >= 0
            for a, b in pairwise(rates)
        ):
            raise ValueError("tolerances fall with their false match rates")
        corners = value.similarity if value else ()
        if not all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(corners)):
            raise ValueError("similarities fall with rising distances")
        return value


class ModelCard(_Part):
    """Everything that is known of one weights file.

    `template` is where the five landmarks go in the network's input. `aliases` are file names under which
    the weights are known. `tried` says what was tried here, and is None where nothing was. `sha256` and
    `bytes` are None where no document gives them; the card of an installed file always has them.
    """

    # Its model ids, which are longer, have to fit into 64 characters of the database.
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,56}$")]
    name: str
    task: Literal["recognition", "detection"]
    family: Literal["dlib", "arcface", "centerface", "yunet", "scrfd"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    bytes: Annotated[int, Field(ge=1)] | None = None
    aliases: tuple[str, ...] = ()
    licence: Licence
    source: Source
    tried: str | None = None
    input: Input | None = None
    template: tuple[Point, ...] = ARCFACE_TEMPLATE
    output: Output | None = None
    spaces: Mapping[Kind, Space] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.family == "arcface" and (self.input is None or self.output is None):
            raise ValueError("a recognition network needs input and output")
        if len(self.template) != 5:
            raise ValueError("the template needs five points")
        if self.family == "arcface" and self.input is not None:
            width, height = self.input.width, self.input.height
            if (width, height) != (112, 112) and self.template == ARCFACE_TEMPLATE:
                raise ValueError(f"this template is one of 112 x 112 pixels, not of {width} x {height}")
            if not all(0 <= x < width and 0 <= y < height for x, y in self.template):
                raise ValueError("the template lies outside the network's input")
        if (self.id == "dlib") != (self.family == "dlib"):
            raise ValueError("the id dlib is taken")
        if (self.task == "recognition") != (self.family in RECOGNITION):
            raise ValueError(f"networks of the family {self.family} are not for {self.task}")
        return self

    @property
    def runs_here(self) -> bool:
        """Whether this version has code for networks of this family."""
        return self.family in RUNNABLE

    def model_id(self, kind: Kind) -> str:
        """The name of a vector space of this network; dlib's are those of its galleries."""
        return f"{'dlib-resnet-v1' if self.family == 'dlib' else self.id}-{kind}"

    def origin(self, kind: Kind) -> ModelOrigin:
        """Where a vector space comes from, for those who ask the service."""
        return ModelOrigin(
            name=self.name,
            kind=kind,
            licence=self.licence.name,
            commercial_use=self.licence.commercial_use,
            licence_url=self.licence.url,
            licence_note=self.licence.note,
            document=self.source.document,
            url=self.source.url,
        )

    def space(self, kind: Kind) -> Space:
        """What is known of a vector space; where nothing was measured, the tolerance is a cautious guess."""
        return self.spaces.get(kind, Space(tolerance=UNMEASURED_TOLERANCE))


def read_card(file: Path) -> ModelCard:
    """Read a card.

    Raises:
        InvalidConfig: it cannot be read or is no card; the message says why.
    """
    try:
        return ModelCard.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InvalidConfig(f"The card {file.name} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        reasons = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()]
        raise InvalidConfig(f"The card {file.name} cannot be used. " + "; ".join(reasons) + ".") from None


def built_in_cards() -> dict[str, ModelCard]:
    """The cards of well-known weights that come with this version, by id."""
    return {card.id: card for card in map(read_card, sorted(_KNOWN.glob("*.json")))}
