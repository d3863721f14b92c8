"""The application: its addresses, and the threads behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, Query, Request, UploadFile, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from melt_ser.core.package import __version__
from melt_ser.evaluation.labelling import LONGEST_SECONDS, SHORTEST_WINDOW, Model
from melt_ser.serving.answers import Health, Labelled, ModelFacts
from melt_ser.serving.batching import Batcher
from melt_ser.serving.failures import add_error_handlers, error_answer
from melt_ser.serving.limits import Bounded, Limits
from melt_ser.serving.metrics import Metrics
from melt_ser.serving.pages import interface_page, label_page
from melt_ser.serving.recordings import Labeller, Patience
from melt_ser.serving.stream import answer_stream

MOST_PEAKS = 4000
UPLOAD, STREAM = "/label", "/stream"
REASONS = {
    413: "The upload, or the audio in it, is too large.",
    422: "It cannot be labelled, or a parameter is wrong.",
    503: "Too many requests wait; the header Retry-After says when to try again.",
    504: "It took too long.",
}
SECURITY = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
DESCRIPTION = "Emotion of speech, by a run of melt_ser. An error is one sentence."


def make_app(model: Model, facts: ModelFacts, limits: Limits, batch: int) -> FastAPI:
    """Return the application that answers with a model; `batch` is the most windows in a forward pass."""
    metrics = Metrics()
    batcher = Batcher(model.probabilities, batch, metrics.batches.observe)
    labeller = Labeller(model.classifiers[0].outputs, batcher.submit, limits.seconds)
    uploads = ThreadPoolExecutor(limits.requests, "upload")  # they decode, and wait for their windows

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        uploads.shutdown(cancel_futures=True)
        batcher.close()

    app = FastAPI(
        title="melt_ser", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(Bounded, limits=limits, paths=frozenset({UPLOAD, STREAM}), metrics=metrics)
    add_error_handlers(app)

    @app.post(
        UPLOAD, response_model=Labelled, responses={status: error_answer(text) for status, text in REASONS.items()}
    )
    async def label(
        file: Annotated[UploadFile, File(description="a recording in any format that FFmpeg or libsndfile reads")],
        window: Annotated[
            float | None,
            Query(ge=SHORTEST_WINDOW, le=LONGEST_SECONDS, description="seconds of a window; none: one answer alone"),
        ] = None,
        peaks: Annotated[int, Query(ge=0, le=MOST_PEAKS, description="points of the waveform to return")] = 0,
    ) -> Labelled:
        """Label a recording, and each window of it."""
        patience, begun = Patience(), time.monotonic()
        work = (file.file, file.filename or "", window, peaks, patience)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(uploads, labeller.label_upload, *work)
        except OSError as error:
            raise HTTPException(
                503, f"The upload cannot be stored ({error.strerror}); tell who runs the server."
            ) from None
        finally:
            patience.end()
        metrics.audio.inc(answer.seconds)
        metrics.seconds.observe(time.monotonic() - begun)
        return answer

    @app.get("/model")
    async def model_facts() -> ModelFacts:
        """Return the outputs, the results and the calibration of the model, and the limits of the server."""
        return facts

    @app.get("/health", responses={503: error_answer("The model does not answer any more.")})
    async def health() -> Health:
        """Return whether the server answers."""
        if not batcher.alive:
            raise HTTPException(503, "The model does not answer any more; start the server again.")
        return Health(status="ok")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        """Return figures in the text format of Prometheus."""
        metrics.waiting.set(batcher.waiting)
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(label_page(facts), headers=SECURITY)

    @app.get("/docs", include_in_schema=False)
    async def interface(request: Request) -> HTMLResponse:
        return HTMLResponse(interface_page(app.openapi(), str(request.base_url)), headers=SECURITY)

    @app.websocket(STREAM)
    async def stream(websocket: WebSocket) -> None:
        code = await answer_stream(websocket, labeller, limits)
        metrics.requests.labels("stream", str(code)).inc()

    return app
