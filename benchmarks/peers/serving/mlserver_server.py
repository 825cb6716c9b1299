"""MLServer, a process of its inference pool a core. Its HTTP takes no binary tensors: the picture comes as base64."""
import base64
import json

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, ResponseOutput

from faces import Faces


class Detector(MLModel):
    async def load(self):
        self.faces = Faces()
        return True

    async def predict(self, payload):
        answer = self.faces.detect(base64.b64decode(payload.inputs[0].data.root[0]))
        return InferenceResponse(model_name=self.name, outputs=[
            ResponseOutput(name="faces", shape=[1], datatype="BYTES", data=[json.dumps(answer)])])


class AddSub(MLModel):
    """What a model that does next to nothing costs."""

    async def load(self):
        return True

    async def predict(self, payload):
        a, b = (NumpyCodec.decode_input(given) for given in payload.inputs)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("OUTPUT0", a + b),
                                                                NumpyCodec.encode_output("OUTPUT1", a - b)])
