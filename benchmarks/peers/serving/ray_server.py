"""Ray Serve on this machine alone, a replica a core, raw pictures over HTTP."""
import os
import signal

import ray
from ray import serve

from faces import Faces


@serve.deployment(num_replicas=int(os.environ.get("WORKERS", "2")), max_ongoing_requests=1000,
                  ray_actor_options={"num_cpus": 0.5})
class Detector:
    def __init__(self):
        self.faces = Faces()

    async def __call__(self, request):
        if request.url.path.endswith("/ready"):
            return "ready"
        return self.faces.detect(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False,
             _node_ip_address="127.0.0.1", runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Detector.bind(), route_prefix="/detect")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
