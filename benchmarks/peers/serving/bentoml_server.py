"""BentoML, a worker process a core."""
import os
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from faces import Faces


@bentoml.service(workers=int(os.environ.get("WORKERS", "2")), traffic={"timeout": 60, "max_concurrency": 1000},
                 logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Detector:
    def __init__(self):
        self.faces = Faces()

    @bentoml.api(route="/detect")
    async def detect(self, picture: Annotated[bytes, ContentType("image/jpeg")], /) -> dict:
        return self.faces.detect(picture)
