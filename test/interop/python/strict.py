"""What the strict clients share: they raise on an error frame, and on a stream that ends without [DONE]."""
import json
import os

URL = os.environ["CHAT_URL"]
HEADERS = {"Authorization": "Bearer " + os.environ["CHAT_KEY"]}
PAYLOAD = {
    "model": os.environ["CHAT_MODEL"],
    "messages": [{"role": "user", "content": "Xin chào, thế giới"}],
    "stream": True,
}


class StreamError(Exception):
    pass


class Answer:
    """Takes the lines of an event stream; `text` is complete only when `finish()` does not raise."""

    def __init__(self, status, content_type):
        if status != 200:
            raise StreamError(f"status {status}")
        if content_type != "text/event-stream; charset=utf-8":
            raise StreamError(f"content type {content_type}")
        self.text = ""
        self.done = False
        self.reason = None

    def feed(self, line):
        if not line.startswith("data: "):
            return
        if self.done:
            raise StreamError("data after [DONE]")
        data = line[len("data: "):]
        if data == "[DONE]":
            self.done = True
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise StreamError(chunk["error"]["message"])
        for choice in chunk["choices"]:
            self.text += choice["delta"].get("content") or ""
            self.reason = choice["finish_reason"] or self.reason

    def finish(self):
        if not self.done:
            raise StreamError("the stream ended without [DONE]")
        if self.reason is None:
            raise StreamError("the stream ended without a finish reason")
        print(self.text, end="")
