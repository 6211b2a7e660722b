"""The `websockets` client of the first article, as written there; only URL, key, prompt and model come from outside."""
import os

# WebSocket Client - Python sử dụng websockets library
import asyncio
import json
import websockets
from websockets.exceptions import ConnectionClosed

class WebSocketStreamingClient:
    def __init__(self, api_key, base_url=os.environ["CHAT_URL"]):
        self.api_key = api_key
        self.base_url = base_url

    async def stream(self, prompt, model="gpt-4.1"):
        """Stream phản hồi từ LLM qua WebSocket"""
        uri = f"{self.base_url}?model={model}&api_key={self.api_key}"
        
        try:
            async with websockets.connect(uri) as ws:
                # Gửi request
                request = {
                    "type": "chat.completion",
                    "messages": [
                        {"role": "user", "content": prompt}
                    ],
                    "stream": True
                }
                await ws.send(json.dumps(request))

                # Nhận response
                full_response = ""
                async for message in ws:
                    data = json.loads(message)
                    
                    if data.get("type") == "content_delta":
                        token = data.get("content", "")
                        full_response += token
                        yield token
                        
                    elif data.get("type") == "usage":
                        print(f"Tokens used: {data}")
                        
                    elif data.get("type") == "done":
                        break
                        
        except ConnectionClosed as e:
            print(f"Connection closed: {e}")
            raise

async def main():
    client = WebSocketStreamingClient(os.environ["CHAT_KEY"])
    
    print("Streaming response:\n")
    async for token in client.stream(
        "Viết code Python để implement binary search tree",
        model=os.environ["CHAT_MODEL"]
    ):
        print(token, end="", flush=True)
    print("\n")

if __name__ == "__main__":
    asyncio.run(main())
