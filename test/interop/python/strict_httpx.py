import httpx

from strict import Answer, HEADERS, PAYLOAD, URL

with httpx.stream("POST", URL, headers=HEADERS, json=PAYLOAD, timeout=30) as response:
    answer = Answer(response.status_code, response.headers["content-type"])
    for line in response.iter_lines():
        answer.feed(line.rstrip("\r\n"))
    answer.finish()
