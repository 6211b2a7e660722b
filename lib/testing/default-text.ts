import { isVietnamese, shorten, textOf, userPrompt } from './prompt.ts'
import type { ChatBody } from './scenario.ts'

/** Longest quotation of a prompt or tool result, in characters. */
const MAX_QUOTE = 500

const TEXTS = {
  english: {
    quote: 'You asked: "%s"\n\n',
    noPrompt: 'You asked nothing yet, so here is a word about streaming. ',
    tool: 'The tool answered: %s\n\nThat is what I needed to know, so here is the result in plain words, and no other tool has to be called.',
    body: 'Here is what happens while you read this. The server keeps one request to the model open, and each word is sent on ' +
      'the moment it is ready. Your screen shows it at once, instead of waiting for the whole text. If you leave, the ' +
      'server stops the model, so nobody pays for words that no one will read. If the connection breaks, you are told ' +
      'that the answer is not complete. This one is complete, and it ends here.',
    reasoning: 'The user wants a clear answer. I will quote the question first, then explain in a few short sentences.'
  },
  vietnamese: {
    quote: 'Bạn hỏi: "%s"\n\n',
    noPrompt: 'Bạn chưa hỏi gì. ',
    tool: 'Công cụ trả lời: %s\n\nĐó là điều tôi cần biết, nên đây là kết quả, và không cần gọi thêm công cụ nào nữa.',
    body: 'Đây là những gì diễn ra khi bạn đọc câu trả lời này. Máy chủ giữ một yêu cầu mở tới mô hình, và mỗi từ được gửi ' +
      'đi ngay khi nó sẵn sàng. Màn hình của bạn hiện từ đó ngay lập tức, thay vì chờ cả đoạn văn. Nếu bạn rời đi, máy ' +
      'chủ sẽ dừng mô hình, để không ai phải trả tiền cho những từ không ai đọc. Nếu kết nối bị đứt, bạn sẽ được báo ' +
      'rằng câu trả lời chưa trọn vẹn. Câu trả lời này đã trọn vẹn và kết thúc ở đây.',
    reasoning: 'Người dùng cần một câu trả lời rõ ràng. Tôi sẽ nhắc lại câu hỏi, rồi giải thích bằng vài câu ngắn.'
  }
}

/** Writes a readable answer to a request: it quotes the prompt, or the result of the tool that spoke last. */
export function writeText (request: ChatBody): string {
  const texts = chooseTexts(request)
  const last = request.messages.at(-1)
  if (last?.role === 'tool') return fill(texts.tool, textOf(last).trim())
  const prompt = userPrompt(request)
  return `${prompt === '' ? texts.noPrompt : fill(texts.quote, prompt)}${texts.body}`
}

/** Writes what a model might think before it answers. */
export function writeReasoning (request: ChatBody): string {
  return chooseTexts(request).reasoning
}

function chooseTexts (request: ChatBody): typeof TEXTS.english {
  return isVietnamese(userPrompt(request)) ? TEXTS.vietnamese : TEXTS.english
}

function fill (template: string, quote: string): string {
  return template.replace('%s', () => shorten(quote, MAX_QUOTE))
}
