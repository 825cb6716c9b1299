"""The peer that has nothing but an HTTP server: uvicorn with uvloop and httptools, a Starlette route, a process a core.

The work is done in the route itself: a process has one core, and threads would only take turns.
"""
import os

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from faces import Faces

faces = None


def here():
    global faces
    faces = faces or Faces()
    return faces


async def detect(request):
    return JSONResponse(here().detect(await request.body()))


async def ready(_):
    here()
    return PlainTextResponse("ready")


app = Starlette(routes=[Route("/detect", detect, methods=["POST"]), Route("/ready", ready)])

if __name__ == "__main__":
    uvicorn.run("uvicorn_server:app", host="127.0.0.1", port=int(os.environ["PORT"]), workers=int(os.environ["WORKERS"]),
                loop="uvloop", http="httptools", access_log=False, log_level="warning")
