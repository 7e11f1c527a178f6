import pytest

from qengine.data.channels import channel_axis
from qengine.errors import FeedError


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 3, 8, 8), -3),
        ((1, 8, 8, 3), -1),
        (("N", "H", "W", 3), -1),
        (("N", None, None, 1), -1),
        (("N", 3, "H", "W"), -3),
        ((1, 1, 28, None), -3),
        ((1, None, 4, 6), -3),
        ((1, 224, 224, None), -1),
        ((None, None, None, None), -3),
        ((1, 4, 8, 8), -3),
        ((8, 8, 3), -1),
        ((3, 8, 8), -3),
    ],
)
def test_the_axis_that_the_shape_tells(shape, axis):
    assert channel_axis(shape, None) == axis
    assert (channel_axis(shape, "nchw"), channel_axis(shape, "nhwc")) == (-3, -1)


@pytest.mark.parametrize("shape", [(1, 3, "H", 3), (1, 3, 224, 1), (1, 1, 1, 1), (3, None, 3), (1, 8, 3)])
def test_what_the_shape_does_not_tell_is_asked_for(shape):
    with pytest.raises(FeedError, match=r"first or last: say which with --layout nchw or --layout nhwc \(layout= of"):
        channel_axis(shape, None)
    assert (channel_axis(shape, "nchw"), channel_axis(shape, "nhwc")) == (-3, -1)
