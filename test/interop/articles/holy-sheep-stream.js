// `HolySheepStream` of the second article, as written there but for its URL; lost backticks are restored. It takes each
// network chunk for whole lines, so it needs a server that writes whole frames.
/* eslint-disable */
class HolySheepStream {
  constructor(apiKey, url) {
    this.url = url;
    this.apiKey = apiKey;
    this.ws = null;
  }
  
  async chat(messages, onChunk, onComplete) {
    // Sử dụng HTTP POST với streaming
    const response = await fetch(this.url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'Authorization': `Bearer ${this.apiKey}`
      },
      body: JSON.stringify({
        model: 'gpt-4.1',
        messages: messages,
        stream: true
      })
    });
    
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    
    while (true) {
      const { done, value } = await reader.read();
      if (done) {
        if (onComplete) onComplete();
        break;
      }
      
      const chunk = decoder.decode(value);
      const lines = chunk.split('\n');
      
      for (const line of lines) {
        if (line.startsWith('data: ') && !line.includes('[DONE]')) {
          const data = JSON.parse(line.slice(6));
          const content = data.choices?.[0]?.delta?.content;
          if (content && onChunk) {
            onChunk(content);
          }
        }
      }
    }
  }
}

export { HolySheepStream };
