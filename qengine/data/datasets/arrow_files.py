"""Tables in Parquet and Arrow files, read by pyarrow in batches of a few rows.

Arrow's readers trust the data inside of a file: its documentation asks those who read files of others to validate each
batch before an element is used. So every batch is validated in full, files are read and not mapped into memory (a
mapped file that is cut while it is read ends the process), and announced sizes are compared with limits first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qengine.errors import FeedError, OptionError, first_line
from qengine.input_files import open_input

SUFFIXES = frozenset({".parquet", ".arrow"})
"""Endings of the names of files of tables."""

_ROWS = 32  # rows that are in memory at the same time, as far as the file allows
_MAX_GROUP_BYTES = 1 << 34
_MAX_THRIFT = 100_000_000
_MAGIC = b"ARROW1"


def pyarrow_for(path: Path) -> Any:
    """Return pyarrow; raise OptionError, with what to install, where it is missing."""
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise OptionError(f"{path} needs pyarrow to be read: pip install 'qengine[parquet]'") from None
    return pyarrow


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes
    ----------
    path : path of the file.
    rows : number of rows.
    schema : Arrow schema.
    """

    path: Path
    rows: int
    schema: Any

    @classmethod
    def of(cls, path: Path) -> TableFile:
        """Return a file, of which the schema and the number of rows are read.

        Raises
        ------
        QEngineError
            If it cannot be read, or pyarrow is not installed.
        """
        arrow = pyarrow_for(path)
        with _errors_of(path, arrow), open_input(path) as file:
            if path.suffix.lower() == ".parquet":
                opened = _parquet(arrow, file)
                groups = [opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups)]
                if any(not 0 <= group.total_byte_size <= _MAX_GROUP_BYTES or group.num_rows < 0 for group in groups):
                    raise FeedError(
                        f"{path} has parts of more than {_MAX_GROUP_BYTES:,} bytes: write smaller row groups"
                    )
                return cls(path, sum(group.num_rows for group in groups), _named(path, opened.schema_arrow))
            reader = _ipc(arrow, file)
            return cls(path, sum(batch.num_rows for batch in _batches_of(reader)), _named(path, reader.schema))

    def features(self) -> Mapping[str, Any]:
        """Return what a Hugging Face data set says of its columns, by name; empty where it says nothing."""
        try:
            text = (self.schema.metadata or {}).get(b"huggingface", b"{}")
            found = json.loads(text)["info"]["features"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield the rows of some columns in record batches that have been validated.

        Raises
        ------
        FeedError
            If the file is damaged.
        """
        arrow = pyarrow_for(self.path)
        with _errors_of(self.path, arrow), open_input(self.path) as file:
            if self.path.suffix.lower() == ".parquet":
                opened = _parquet(arrow, file)
                found = opened.iter_batches(_ROWS, columns=list(columns), use_threads=False)
            else:
                found = _batches_of(_ipc(arrow, file))
            for batch in found:
                batch.validate(full=True)
                yield batch.select(list(columns))


def _named(path: Path, schema: Any) -> Any:
    """Return a schema whose columns have names of their own; raise FeedError for another."""
    names = [column.name for column in schema]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise FeedError(f"{path} has two columns '{twice[0]}': give them names of their own")
    return schema


def _parquet(arrow: Any, file: Any) -> Any:
    return arrow.parquet.ParquetFile(
        file,
        pre_buffer=False,
        thrift_string_size_limit=_MAX_THRIFT,
        thrift_container_size_limit=_MAX_THRIFT,
    )


def _ipc(arrow: Any, file: Any) -> Any:
    """Return a reader of an Arrow file, or of an Arrow stream, as Hugging Face writes it under the same ending."""
    is_file = file.read(len(_MAGIC)) == _MAGIC
    file.seek(0)
    options = arrow.ipc.IpcReadOptions(use_threads=False)
    return arrow.ipc.open_file(file, options=options) if is_file else arrow.ipc.open_stream(file, options=options)


def _batches_of(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "get_batch"):
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return iter(reader)


@contextmanager
def _errors_of(path: Path, arrow: Any) -> Iterator[None]:
    """Turn the errors of pyarrow into a FeedError that names the file."""
    try:
        yield
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror or first_line(error)}") from None
    except (arrow.ArrowException, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise FeedError(f"{path} is damaged, or of a kind that is not read: {first_line(error)}") from None
