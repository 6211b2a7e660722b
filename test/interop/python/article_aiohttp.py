"""The `aiohttp` client of the second article, as written there; only URL, key and model come from outside."""
import os

import aiohttp
import asyncio
import json

async def stream_chat_async():
    """Async streaming với HolySheep AI"""

    url = os.environ["CHAT_URL"]

    headers = {
        "Authorization": "Bearer " + os.environ["CHAT_KEY"],
        "Content-Type": "application/json"
    }

    payload = {
        "model": os.environ["CHAT_MODEL"],
        "messages": [{"role": "user", "content": "Đếm từ 1 đến 5"}],
        "stream": True
    }

    async with aiohttp.ClientSession() as session:
        async with session.post(url, headers=headers, json=payload) as response:
            full_response = ""

            async for line in response.content:
                decoded = line.decode('utf-8').strip()

                if decoded.startswith('data: ') and '[DONE]' not in decoded:
                    data = json.loads(decoded[6:])
                    content = data.get('choices', [{}])[0].get('delta', {}).get('content', '')
                    if content:
                        full_response += content
                        print(content, end='', flush=True)

            print(f"\n\n📝 Full response: {full_response}")

asyncio.run(stream_chat_async())
