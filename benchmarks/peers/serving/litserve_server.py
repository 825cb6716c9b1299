"""LitServe, a worker process a core. Requests cross from its HTTP server to the workers as JSON with base64."""
import base64
import os

import litserve as ls

from faces import Faces


class Detector(ls.LitAPI):
    def setup(self, device):
        self.faces = Faces()

    def decode_request(self, request):
        return base64.b64decode(request["picture"])

    def predict(self, jpeg):
        return self.faces.detect(jpeg)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = ls.LitServer(Detector(api_path="/detect"), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]),
                          timeout=60)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), num_api_servers=1, log_level="warning",
               generate_client_file=False)
