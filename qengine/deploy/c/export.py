"""Export of a network to C: everything is computed first, and the folder is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, Unpack

import numpy as np

from qengine.atomic_files import check_folder, replacing_folder
from qengine.data.applied import base_of_session
from qengine.data.datasets import ReadingKeywords, data_keywords, runs_of
from qengine.data.preprocessing import Preprocessing
from qengine.deploy.c.emit import source_files
from qengine.deploy.c.emit.build_files import cmake_lists, makefile, sources_of
from qengine.deploy.c.emit.check import check_source
from qengine.deploy.c.emit.readme import readme
from qengine.deploy.c.emit.stamp import Stamp
from qengine.deploy.c.final_softmax import without_softmax
from qengine.deploy.c.golden import Arrays, Golden, Sample, checksums, known_answer, random_samples
from qengine.deploy.c.manifest import c_manifest, completed
from qengine.deploy.c.network import network_of, plan_of
from qengine.deploy.c.options import CKeywords, COptions
from qengine.deploy.c.project import CProject
from qengine.deploy.c.shapes import feeds_of_shapes
from qengine.deploy.c.sizes import Measured, flash_of, measure
from qengine.deploy.c.verifier import Verifier
from qengine.deploy.c.verify import Verification, find_compiler
from qengine.deploy.c_folder import is_c_folder
from qengine.deploy.pixel_codes import pixel_codes
from qengine.deploy.vectors.model_file import write_model
from qengine.keywords import check_keywords, options_with
from qengine.progress import working
from qengine.runtime.plan.plan import Plan
from qengine.runtime.session import InferenceSession

Feeds = Mapping[str, Any]


class ExportCKeywords(CKeywords, ReadingKeywords, total=False):
    """The fields of `COptions`, and how data is read, as keyword arguments."""


def export_c(
    session: InferenceSession,
    folder: str | os.PathLike[str],
    options: COptions | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    data: Any = None,
    command: str | None = None,
    preprocessing: Preprocessing | None = None,
    **keywords: Unpack[ExportCKeywords],
) -> CProject:
    """Write a network as C99 that computes the codes of a session, whole or not at all, and return it.

    Parameters
    ----------
    session
        A session in fixed point.
    folder
        Folder to write. A network in C that is there is replaced; a folder that holds anything else is refused.
    options
        Names, files and checks; None for the defaults.
    shapes
        Shapes of inputs by name, for those that the model leaves open. An open first axis is 1 by default.
    data
        Data that `open_dataset` takes: arrays of inputs by name, or several such mappings, are fed unchanged. What
        decides shapes must be among them, and is a constant in C. The first sample is the known answer of the
        self-test, if it has all inputs.
    command
        Command line for the first lines of the files; None for this function and its options.
    preprocessing
        Conversion of pixels to the numbers of the inputs, for the manifest and the comments; None for what the file of
        the model records.
    keywords
        Single fields of `COptions`, such as ``name="kws"``. They replace those of `options`. And `batch`,
        `limit` and `labels` of the data, see `open_dataset`.

    Returns
    -------
    CProject
        The folder that was written.

    Raises
    ------
    UnsupportedError
        If C cannot compute some operators; the message names them all.
    QEngineError
        If the session runs in float32, a shape is open, an option is not valid, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import qengine
    >>> session = qengine.InferenceSession(qengine.zoo.path_of("digits"), qformat="Q4.3")
    >>> project = qengine.export_c(session, tempfile.mkdtemp(), name="digits")
    >>> project.files[:2]
    ('CMakeLists.txt', 'Makefile')
    """
    check_keywords("export_c", keywords, ExportCKeywords)
    wanted = options_with(COptions, options, keywords)
    check_folder(folder, is_c_folder)
    reading = data_keywords({**keywords, "preprocessing": preprocessing})
    samples: list[Feeds] = [] if data is None else [dict(one) for one in runs_of(data, session, reading)]
    preprocessing = preprocessing or base_of_session(session).recorded
    export = _Export(session, wanted, samples, shapes, command or _command(wanted), preprocessing)
    with session.limited(), np.errstate(all="ignore"):
        with working("generating C"):
            contents, manifest, verifier = export.files()
        with working("compiling and running the C"):
            verification, measured = export.compiled(verifier, contents) if wanted.verify else (None, None)
        manifest["notes"] += [] if verification is None or verification.compiler else [verification.sentence]
        with replacing_folder(folder, is_c_folder) as temporary:
            for name, text in contents.items():
                (temporary / name).write_text(text, encoding="utf-8", newline="\n")
            if wanted.trace:
                manifest["notes"] += write_model(session, temporary)
            written = {path.name: path.read_bytes() for path in temporary.iterdir()}
            text = completed(manifest, written, verification, measured)
            (temporary / f"{wanted.name}.json").write_text(text, encoding="utf-8", newline="\n")
    read = CProject.read(folder)
    return CProject(read.folder, read.manifest, verifier)


def _command(options: COptions) -> str:
    """Return the call of `export_c` with the options that are not the defaults."""
    given = [f"{f.name}={getattr(options, f.name)!r}" for f in fields(options) if getattr(options, f.name) != f.default]
    return f"qengine.export_c({', '.join(given)})"


@dataclass
class _Export:
    session: InferenceSession
    options: COptions
    samples: list[Feeds]
    shapes: Mapping[str, Sequence[int]] | None
    command: str
    preprocessing: Preprocessing | None
    notes: list[str] = field(default_factory=list)

    def files(self) -> tuple[dict[str, str], dict[str, Any], Verifier]:
        """Return the text of each file by name, the manifest, and what a verification needs."""
        options, session = self.options, self.session
        outputs = None
        if options.drop_softmax:
            outputs, dropped = without_softmax(session)
            self.notes += dropped
        arrays, on_shapes = feeds_of_shapes(session, self.shapes, self.samples[0] if self.samples else None)
        self.notes += on_shapes
        plan = plan_of(session, arrays, outputs)
        network = network_of(session, arrays, outputs, options.name)
        stamp = Stamp.of(session, self.command)
        pixels = pixel_codes(session, self.preprocessing)
        source = source_files(
            network,
            options.name,
            stamp,
            session.rules,
            pixels=pixels,
            one_file=options.one_file,
            ram=options.most_bytes,
        )
        self.notes += source.network.notes
        golden = Golden(session, plan)
        given = self._given(golden, plan, arrays)
        known, more = self._checked(golden, given)
        tensors = golden.run(known.codes)
        files = dict(source.files)
        files[f"{options.name}_check.c"] = check_source(
            source.network,
            options.name,
            stamp,
            (known.source, tensors),
            checksums(source.network, tensors),
            [(one.source, golden.run(one.codes)) for one in more],
        )
        checked = [one.source for one in (known, *more)]
        manifest = c_manifest(session, plan, source, options, stamp.command, self.notes, checked)
        manifest["preprocessing"] = None if self.preprocessing is None else self.preprocessing.record()
        manifest["pixels"] = [one.as_json() for one in pixels]
        names = list(files)
        files["Makefile"] = makefile(options.name, stamp, names)
        files["CMakeLists.txt"] = cmake_lists(options.name, stamp, names)
        files["README.md"] = readme(source, options.name, stamp, manifest, pixels, sources_of(options.name, names))
        held = flash_of(c for c in source.constants if options.one_file or c.is_visible)
        verifier = Verifier(golden, source.network, options.name, files, given, arrays, held)
        return files, manifest, verifier

    def _given(self, golden: Golden, plan: Plan, arrays: Feeds) -> list[Arrays]:
        """Return the codes of the samples that have all inputs."""
        names = {t.name for t in plan.inputs}
        return [golden.codes_of({**arrays, **one}) for one in self.samples if names and names <= one.keys()]

    def _checked(self, golden: Golden, given: Sequence[Arrays]) -> tuple[Sample, list[Sample]]:
        """Return the known answer, and the samples whose outputs are compared."""
        count = self.options.check
        known = known_answer(golden, given[0] if given else None)
        own = [Sample(f"sample {i} of the data", one) for i, one in enumerate(given)][:count]
        random = random_samples(golden.inputs, given[0] if given else None, seed=1)
        return known, [*own, *islice(random, max(0, count - len(own)))]

    def compiled(self, verifier: Verifier, contents: Mapping[str, str]) -> tuple[Verification, Measured | None]:
        """Compile the network, and return what a verification finds and measures."""
        compiler = find_compiler()
        if compiler is None:
            return Verification(None), None
        found = verifier.with_compiler(compiler, ("-O2",), verifier.samples())
        return found, measure(self.options.name, contents, verifier.held, compiler)
