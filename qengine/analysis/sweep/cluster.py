"""Points on a Dask cluster: an existing one, or a local one that the sweep starts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import Any

from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.processes import TRIES, Outcomes, without_interrupts
from qengine.analysis.sweep.row import Outcome
from qengine.analysis.sweep.work import Work, evaluate
from qengine.errors import SweepError, first_line

LOCAL = "local"
_CONNECT_SECONDS = 30.0  # seconds for a cluster to answer


def on_cluster(work: Work, points: Sequence[Point], address: str, jobs: int) -> Outcomes:
    """Compute points on the workers of a Dask cluster, and yield each as it is finished.

    Parameters
    ----------
    work, points
        The work and its points. Workers see the model, the data and the folder at the same absolute paths.
    address
        Address of the scheduler, such as tcp://host:8786, or "local" for a cluster of this machine's processes.
    jobs
        Number of processes of a local cluster.

    Raises
    ------
    SweepError
        If Dask is not installed, the cluster does not answer, or workers see another model or other data.
    """
    try:
        import dask
        import distributed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise SweepError("a Dask cluster needs distributed: pip install 'qengine[dask]'") from None
    untyped: Any = distributed
    with ExitStack() as stack:
        if address == LOCAL:
            # A worker that dies is replaced, and its point tried again as often as on worker processes.
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}))
            with without_interrupts():
                target: Any = untyped.LocalCluster(
                    n_workers=min(jobs, len(points)),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=50,
                )
            stack.enter_context(target)
        else:
            target = address
        try:
            client = stack.enter_context(untyped.Client(target, timeout=_CONNECT_SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise SweepError(f"the Dask cluster {address} does not answer: {first_line(error)}") from None
        waiting = {client.submit(evaluate, work, point, pure=False): point for point in points}
        for future in untyped.as_completed(list(waiting), loop=client.loop):
            point = waiting.pop(future)
            try:
                yield point, future.result()
            except KilledWorker:
                given_up = f"the worker process ended {TRIES} times while it computed this: Dask gave it up"
                yield point, Outcome(error=given_up, tries=TRIES)
            except (CancelledError, OSError, TimeoutError) as error:
                raise SweepError(
                    f"the Dask cluster {address} was lost ({first_line(error)}): what is done is kept; "
                    "run the sweep again"
                ) from None
            future.release()
