import asyncio

import aiohttp

from strict import Answer, HEADERS, PAYLOAD, URL


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post(URL, headers=HEADERS, json=PAYLOAD) as response:
            answer = Answer(response.status, response.headers["content-type"])
            async for line in response.content:
                answer.feed(line.decode(response.charset).rstrip("\r\n"))
            answer.finish()


asyncio.run(main())
