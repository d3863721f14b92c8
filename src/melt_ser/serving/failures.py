"""A sentence as JSON for everything that goes wrong with a request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from melt_ser.audio.decoders import TooLong
from melt_ser.core.errors import MeltSerError
from melt_ser.serving.answers import Error
from melt_ser.serving.limits import refuse

SENTENCES = {
    400: "The upload cannot be read as a form; send the recording as its part `file`.",
    404: "There is nothing at this address; /docs has the interface.",
    405: "This address does not take that method; /docs has the interface.",
}


def error_answer(description: str) -> dict[str, Any]:
    """Return an answer without a result, for the description of the interface."""
    return {"model": Error, "description": description}


def add_error_handlers(app: FastAPI) -> None:
    """Let every failure end in a sentence."""
    app.exception_handler(HTTPException)(_of_http)
    app.exception_handler(RequestValidationError)(_of_parameters)
    app.exception_handler(MeltSerError)(_of_input)
    app.exception_handler(Exception)(_of_server)


async def _of_http(request: Request, error: HTTPException) -> JSONResponse:
    answer = refuse(error.status_code, SENTENCES.get(error.status_code, error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _of_parameters(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    return refuse(422, f"{first['loc'][-1]}: {first['msg']}; /docs has the interface.")


async def _of_input(request: Request, error: MeltSerError) -> JSONResponse:
    return refuse(413 if isinstance(error, TooLong) else 422, str(error))


async def _of_server(request: Request, error: Exception) -> JSONResponse:
    return refuse(500, "The server failed; its log has the reason.")
