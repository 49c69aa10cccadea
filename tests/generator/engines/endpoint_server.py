"""A small HTTP server on loopback that speaks chat completions, and fails as it is told."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aligngen.core.config import EngineConfig


class Endpoint:
    """Answers from a script: `say(status, body, headers)` queues one answer; then all is well."""

    def __init__(self, server):
        self.port = server.server_address[1]
        self.script, self.seen, self.headers = [], [], []
        self.lock = threading.Lock()
        self.active = self.most_active = 0
        self.gate = threading.Event()
        self.gate.set()

    def config(self, **fields):
        url = f"http://127.0.0.1:{self.port}/v1"
        return EngineConfig(kind="openai", model="m", base_url=url, **fields)

    def say(self, status, body=None, headers=None, times=1):
        self.script += [(status, body or {"error": {"message": "as told"}}, headers or {})] * times

    def answer(self, body, headers):
        with self.lock:
            self.seen.append(body)
            self.headers.append(headers)
            return self.script.pop(0) if self.script else (200, completion("blue"), {})


def completion(text, finish_reason="stop", refusal=None):
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    }


@contextmanager
def serve():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with endpoint.lock:
                endpoint.active += 1
                endpoint.most_active = max(endpoint.most_active, endpoint.active)
            endpoint.gate.wait(20)
            status, answer, headers = endpoint.answer(body, dict(self.headers))
            with endpoint.lock:
                endpoint.active -= 1
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.gate.set()
        server.shutdown()
        server.server_close()
