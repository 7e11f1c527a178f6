import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine.errors import FeedError
from qengine.model.loader.tensorfile import load_tensor


def saved(tmp_path, content):
    (tmp_path / "t.pb").write_bytes(content)
    return tmp_path / "t.pb"


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
def test_every_type_of_number(tmp_path, dtype):
    array = np.array([[0, 1, 2], [3, 0, 5]]).astype(dtype)
    found = load_tensor(saved(tmp_path, numpy_helper.from_array(array).SerializeToString()))
    np.testing.assert_array_equal(found, array, strict=True)
    found[0, 0] = 1  # the caller's own


def test_text(tmp_path):
    words = helper.make_tensor("s", TensorProto.STRING, [1], [b"a"]).SerializeToString()
    assert load_tensor(saved(tmp_path, words)).tolist() == ["a"]


def test_what_is_no_tensor(tmp_path):
    whole = numpy_helper.from_array(np.ones((2, 4), np.float32)).SerializeToString()
    lying = TensorProto(data_type=TensorProto.FLOAT, dims=[3], raw_data=bytes(8)).SerializeToString()
    outside = TensorProto(data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    for content, reason in [
        (b"", "is empty"),
        (b"hello", "not a TensorProto"),
        (whole[:-3], "not a TensorProto"),
        (lying, "takes 12 bytes, but 8 are there"),
        (outside.SerializeToString(), "in another file"),
    ]:
        with pytest.raises(FeedError, match=rf"tensor file .*t\.pb.*{reason}"):
            load_tensor(saved(tmp_path, content))


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(FeedError, match="No such file"):
        load_tensor(tmp_path / "no.pb")
    with pytest.raises(FeedError, match="directory"):
        load_tensor(tmp_path)
