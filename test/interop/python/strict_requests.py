import requests

from strict import Answer, HEADERS, PAYLOAD, URL

response = requests.post(URL, headers=HEADERS, json=PAYLOAD, stream=True)
answer = Answer(response.status_code, response.headers["content-type"])
# The encoding that requests reads from the headers, not one set by hand.
for line in response.iter_lines(decode_unicode=True):
    answer.feed(line)
answer.finish()
