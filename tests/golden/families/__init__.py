"""Small networks of the usual families, written here, with random weights: what exporters make of them is tested.

A family is exported by the TorchScript exporter or by torch.export (`dynamo`), at the opset that is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .classifiers import VGG, DenseNet, ResNet, ShuffleNet, SqueezeNet
from .detectors import DBNet, Yolo
from .images import EDSR, ESPCN, FSRCNN, UNet
from .mobile import EfficientNet, MobileV1, MobileV2, MobileV3, OldMobileV3
from .modern import ConvNeXt

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True)
class Family:
    """A network to export.

    Attributes
    ----------
    module : makes it.
    image : channels, height and width of its input.
    opset : of the export.
    dynamo : whether torch.export writes it.
    keep_batchnorm : whether BatchNormalization stays a node of its own.
    """

    module: Callable[[], nn.Module]
    image: tuple[int, int, int]
    opset: int
    dynamo: bool = False
    keep_batchnorm: bool = False


FAMILIES = {
    "vgg": Family(VGG, (3, 32, 32), 13),
    "resnet": Family(ResNet, (3, 32, 32), 17, keep_batchnorm=True),
    "resnet_dynamo": Family(ResNet, (3, 32, 32), 18, dynamo=True),
    "densenet": Family(DenseNet, (3, 24, 24), 13),
    "squeezenet": Family(SqueezeNet, (3, 34, 34), 11),
    "shufflenet": Family(ShuffleNet, (3, 32, 32), 13),
    "mobilenet_v1": Family(MobileV1, (3, 32, 32), 11, keep_batchnorm=True),
    "mobilenet_v2": Family(MobileV2, (3, 32, 32), 17),
    "mobilenet_v3": Family(MobileV3, (3, 32, 32), 17),
    "mobilenet_v3_op11": Family(MobileV3, (3, 32, 32), 11),
    "mobilenet_v3_dynamo": Family(MobileV3, (3, 32, 32), 18, dynamo=True),
    "mobilenet_v3_spelled": Family(OldMobileV3, (3, 32, 32), 13),
    "efficientnet": Family(EfficientNet, (3, 32, 32), 17),
    "efficientnet_dynamo": Family(EfficientNet, (3, 32, 32), 20, dynamo=True),
    "unet": Family(UNet, (3, 24, 24), 13),
    "unet_dynamo": Family(UNet, (3, 24, 24), 18, dynamo=True),
    "fsrcnn": Family(FSRCNN, (1, 12, 14), 13),
    "espcn": Family(ESPCN, (1, 12, 14), 17),
    "edsr": Family(EDSR, (3, 12, 14), 17),
    "yolo": Family(Yolo, (3, 32, 32), 12),
    "yolo_dynamo": Family(Yolo, (3, 32, 32), 18, dynamo=True),
    "dbnet": Family(DBNet, (3, 32, 32), 17),
    "convnext": Family(ConvNeXt, (3, 32, 32), 13),
    "convnext_op17": Family(ConvNeXt, (3, 32, 32), 17),
    "convnext_dynamo": Family(ConvNeXt, (3, 32, 32), 20, dynamo=True),
}
