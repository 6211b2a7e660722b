"""The `requests` client of the second article, as written there; only URL, key and messages come from outside."""
import os

import requests
import json

def stream_chat_completion():
    """Streaming chat completion với HolySheep AI"""

    url = os.environ["CHAT_URL"]

    headers = {
        "Authorization": "Bearer " + os.environ["CHAT_KEY"],
        "Content-Type": "application/json"
    }

    payload = {
        "model": os.environ["CHAT_MODEL"],
        "messages": [
            {"role": "system", "content": "Bạn là trợ lý AI hữu ích."},
            {"role": "user", "content": "Viết một đoạn văn ngắn về du lịch Việt Nam"}
        ],
        "stream": True
    }

    response = requests.post(url, headers=headers, json=payload, stream=True)

    print("Đang nhận streaming response...\n")

    for line in response.iter_lines():
        if line:
            # Parse SSE format: data: {...}
            decoded_line = line.decode('utf-8')
            if decoded_line.startswith('data: '):
                data_str = decoded_line[6:]  # Remove "data: " prefix

                if data_str == '[DONE]':
                    print("\n\n✅ Stream hoàn tất!")
                    break

                try:
                    data = json.loads(data_str)
                    content = data.get('choices', [{}])[0].get('delta', {}).get('content', '')
                    if content:
                        print(content, end='', flush=True)
                except json.JSONDecodeError:
                    continue

# Chạy demo
if __name__ == "__main__":
    stream_chat_completion()
