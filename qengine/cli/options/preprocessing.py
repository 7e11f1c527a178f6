"""Options of preprocessing: how pictures become the numbers of a model."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from qengine.cli import parsing
from qengine.cli.panels import PREPROCESSING
from qengine.cli.project.origin import named
from qengine.data.applied import Base
from qengine.data.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """Preprocessing as typed; None where something was left out. See `Preprocessing.of`."""

    mean: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Mean that is subtracted: one number, or one per channel. As torchvision has it, of pictures in "
            "[0, 1], such as 0.485,0.456,0.406; where a number is beyond 1, of pixels 0..255.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Standard deviation that is divided by, on the scale of --mean, such as 0.229,0.224,0.225.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Factor of pixels 0..255 in place of --std, such as 1/255: (pixel - mean) * scale.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Resize pictures first: the shorter side to N, or H,W to height and width.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Cut N x N, or H,W, out of the middle of the resized picture.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    bgr: Annotated[
        bool | None,
        typer.Option(
            "--bgr/--rgb",
            help="Whether the model's first channel is blue; means and standard deviations are in its order.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help="Where images have their channels: nchw (first) or nhwc (last). Needed where shapes do not tell.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    convert: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Changes to make to images that do not fit: grey (to 3 channels), alpha (drop it), depth (cut 16 bits "
            "to 8), size (resize).",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None

    def typed_preprocessing(self) -> dict[str, Any]:
        """Return what was typed, or is in the project, by the name of the field."""
        return {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}

    def preprocessing(self, base: Base) -> Preprocessing:
        """Return the preprocessing that was typed; what was left out is that of the base.

        Raises
        ------
        OptionError
            If an option has another form, or two contradict each other.
        """
        typed = self.typed_preprocessing()
        if base.is_recorded and typed.keys() & _NUMBERS:
            # What differs from a record is refused, and the refusal says what was typed, without the record's rest.
            base = replace(base, preprocessing=replace(base.preprocessing, scale=(1.0,), mean=(0.0,)))
        return Preprocessing.of(
            scale=parsing.some_numbers("--scale", typed.get("scale")),
            mean=parsing.some_numbers("--mean", typed.get("mean")),
            std=parsing.some_numbers("--std", typed.get("std")),
            resize=parsing.some_lengths("--resize", typed.get("resize")),
            crop=parsing.some_lengths("--crop", typed.get("crop")),
            bgr=typed.get("bgr"),
            layout=typed.get("layout"),
            convert=parsing.some_words("--convert", typed.get("convert")),
            base=base.preprocessing,
        )

    def typed_options(self) -> tuple[str, ...]:
        """Return the options that were typed and change numbers or sizes, as they are typed.

        Those that the project file gives are named by its table.
        """
        return named(
            "--rgb" if name == "bgr" and value is False else f"--{name}"
            for name, value in self.typed_preprocessing().items()
            if name not in ("layout", "convert")
        )


_NUMBERS = {"scale", "mean", "std"}
_FIELDS = ("mean", "std", "scale", "resize", "crop", "bgr", "layout", "convert")
